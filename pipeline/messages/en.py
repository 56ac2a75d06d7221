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
    "done": "✅ <b>{key}</b> {title}\nDone: commit {commit} is on {branch}.",
    "cancelled": "🛑 <b>{key}</b> {title}\nStopped and cancelled at {stage}.",
    "stop_waits": "🛑 {key} is stopped as soon as what cannot be undone has ended: {why}",
    "stop_left": "🛑 {key} was stopped, and this was left as it is: {why}",
    "lease_released": "🔓 {key}: {who} has taken the item away from run {run}; another run takes over.",
    "rolled_back": "↩️ {key} goes back from {from_stage} to {to_stage}: {reason}",
    "agent_finished": "The {role} has finished attempt {visit} of {stage} ({tokens} tokens in, {output} out, ${cost}).\n{markup}",
    "ignored": "{why}",
    "intake_refused": "{key} was not started: {why}",
}
