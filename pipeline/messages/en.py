"""English texts."""

EN: dict[str, str] = {
    "approval_asked": "📝 <b>{key}</b> {title}\nThe analysis is ready and waits for approval (commit {commit}).\n{markup}",
    "confirmation_asked": (
        "🚀 <b>{key}</b> {title}\nEverything is green. Deploy commit {commit} to production? "
        "Move the card to <i>Confirm Deploy</i>.\n{markup}"
    ),
    "question_asked": "❓ <b>{key}</b> {title}\nThe {role} asks: {question}\n{markup}",
    "integrity_asked": (
        "🔎 <b>{key}</b> {title}\nThe change weakens its own checks (commit {commit}): {question}\n"
        "Comment <i>accept</i> or <i>reject</i> on the card, or use the form.\n{markup}"
    ),
    "budget_asked": (
        "💰 <b>{key}</b> {title}\n{question} The {role} has not started.\n"
        "Comment <i>go on</i> on the card, use the form, or run <code>orch approve {key}</code> to let one more run "
        "start.\n{markup}"
    ),
    "auto_label": "🏷 <b>{key}</b> {title}\nThe label {label} has decided: {asked}",
    "done_by_hand": "✅ <b>{key}</b> {title}\nDone by hand: {why}",
    "needs input": "✋ <b>{key}</b> {title}\nNeeds a person at {stage}: {reason}",
    "blocked": "⛔ <b>{key}</b> {title}\nBlocked at {stage}: {reason}",
    "escalated": "🆘 <b>{key}</b> {title}\nEscalated at {stage}: {reason}",
    "overdue": "⏰ <b>{key}</b> {title}\nStill waiting since {since}: {sentence}",
    "recovered": "♻️ <b>{key}</b> {title}\nThe run at {stage} had died; another one has taken over.",
    "project_frozen": (
        "🧊 <b>{project}</b> is frozen: its runs have died again and again, {key} ({title}) the last of them. "
        "Nothing of it starts until you have looked into it and called <code>orch thaw {project}</code>."
    ),
    "card_gone": (
        "🔍 <b>{key}</b> {title}\nIts card cannot be found, so nothing of it is started at {stage}: {why}\n"
        "Bring the card back, or end the item with <code>orch stop {key}</code>."
    ),
    "done": "✅ <b>{key}</b> {title}\nDone: commit {commit} is on {branch}.",
    "cancelled": "🛑 <b>{key}</b> {title}\nStopped and cancelled at {stage}.",
    "stop_waits": "🛑 {key} is stopped as soon as what cannot be undone has ended: {why}",
    "stop_overdue": (
        "⏰ <b>{key}</b> {title}\nAsked to stop since {since}, and not stopped yet. It is tried again all the time; "
        "the latest <i>stop</i> run in Prefect says what it waits for."
    ),
    "stop_left": "🛑 {key} was stopped, and this was left as it is: {why}",
    "lease_released": "🔓 {key}: {who} has taken the item away from run {run}; another run takes over.",
    "rolled_back": "↩️ {key} goes back from {from_stage} to {to_stage}: {reason}",
    "agent_finished": "The {role} has finished attempt {visit} of {stage} ({tokens} tokens in, {output} out, ${cost}).\n{markup}",
    "ignored": "{why}",
    "intake_refused": "{key} was not started: {why}",
    "degraded": "🔥 <b>{key}</b> {title}\nProduction is not well after the deploy: {reason}",
    "chat_moved": (
        "📮 This chat has a new id, {chat}. Set ORCH_TELEGRAM_CHAT_ID to it, and the field chat_id of the Telegram "
        "Notification block <i>orch</i> on Prefect's pages: that is what counts."
    ),
    "set_aside": (
        "🕰 A later version of Orch has written what this one does not know: {what}. It is left as it is until that "
        "version is started again; everything else goes on."
    ),
    "webhook_was_missing": "🪝 <b>{repository}</b> had no webhook to {url}; Orch has made one.",
    "webhook_was_faulty": "🪝 <b>{repository}</b>: the webhook to {url} did not tell all ({why}); Orch has made it anew.",
    "webhook_refused": (
        "🪝 <b>{repository}</b>: Gitea does not let Orch see to the webhook to {url}: {why}\n"
        "Let Orch's user administrate the repository, or look there yourself that this webhook exists and is active."
    ),
    "plane_refuses": (
        "🔑 Plane does not let Orch in to project <b>{project}</b>: {why}\n"
        "What is moved there is not heard until that is mended: call <code>orch connect plane</code>, which says what is "
        "missing. What was asked for by then begins by itself within half an hour."
    ),
    "start_gone": "🔍 {key} was not started, for its card is gone: {why}",
    "plane_silent": (
        "🔕 Plane's webhook seems to be switched off: none has come since {since}, but cards have moved in {projects}. "
        "Plane switches it off when a delivery has failed too often. Switch it on again in <i>Workspace settings, "
        "Webhooks</i>; its URL is {url}."
    ),
    # --- the live message about an item
    "card_stage": "Stage: {stage}, visit {visit}",
    "card_waits": "⏳ Waits for {for_what}: {reason}",
    "card_at_work": "⚙️ At work",
    "card_blocked": "⛔ Blocked: {reason}",
    "card_escalated": "🆘 Escalated, a person has to look: {reason}",
    "card_needs input": "✋ Needs a person: {reason}",
    "card_stopping": "🛑 Being stopped",
    "card_cancelled": "🛑 Cancelled",
    "card_done": "✅ Done, landed as {commit}",
    "card_done_by_hand": "✅ Done by hand",
    "card_attempts": "Attempts spent: {spent}",
    "card_label": "🏷 The label {label} has decided.",
    "card_cost": "Cost so far: ${cost}",
    "stage analysis": "analysis",
    "stage architecture": "architecture",
    "stage development": "development",
    "stage review": "review",
    "stage testing": "testing",
    "stage deploy_staging": "merge and staging",
    "stage deploy": "deploy",
    "stage done": "done",
    "stage cancelled": "cancelled",
    "role analyst": "analyst",
    "role architect": "architect",
    "role developer": "developer",
    "role reviewer": "reviewer",
    "role tester": "tester",
    "role deployer": "deployer",
    "wait approval": "approval",
    "wait confirmation": "a confirmation of the deploy",
    "wait answer": "an answer",
    "wait budget": "leave to go on beyond the budget",
    "wait integrity": "a word about its own checks",
    "wait verdict": "a new verdict",
    "wait ci": "CI",
    "wait merge-turn": "its merge turn",
    "wait dependency": "other items",
    "wait serial": "a place in its project",
    "wait freeze": "the thaw",
    "wait deploy": "its deploy",
    "wait monitor": "the end of the watch over production",
    "wait back-off": "the next try",
    # --- links and buttons
    "link_brd": "The requirements (01-brd.md)",
    "link_artifacts": "Artifacts",
    "link_pull": "Pull request",
    "link_issue": "{key} in Plane",
    "button_approve": "✅ Approve",
    "button_reject": "❌ Reject",
    "button_accept": "✅ Accept",
    "button_confirm": "🚀 Confirm",
    # --- what a person who pressed one is shown
    "pressed_approve": "{key}: recorded, approved.",
    "pressed_reject": "{key}: recorded, rejected.",
    "pressed_confirm": "{key}: recorded, the deploy is confirmed.",
    "pressed_stale": "{key}: this is not what is asked any more. Nothing was changed.",
    "pressed_unknown": "Orch does not know this question (any more). Nothing was changed.",
    "pressed_not_allowed": "You are not among those who may decide here. Nothing was changed.",
}
