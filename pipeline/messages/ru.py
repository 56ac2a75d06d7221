"""Russian texts."""

RU: dict[str, str] = {
    "approval_asked": "📝 <b>{key}</b> {title}\nАнализ готов и ждёт утверждения (коммит {commit}).\n{markup}",
    "confirmation_asked": (
        "🚀 <b>{key}</b> {title}\nВсе проверки пройдены. Выкатить коммит {commit} в прод? "
        "Переведите карточку в <i>Confirm Deploy</i>.\n{markup}"
    ),
    "question_asked": "❓ <b>{key}</b> {title}\nРоль {role} спрашивает: {question}\n{markup}",
    "integrity_asked": (
        "🔎 <b>{key}</b> {title}\nИзменение ослабляет собственные проверки (коммит {commit}): {question}\n"
        "Ответьте в карточке словом <i>accept</i> или <i>reject</i> либо заполните форму.\n{markup}"
    ),
    "auto_label": "🏷 <b>{key}</b> {title}\nРешено меткой {label}: {asked}",
    "done_by_hand": "✅ <b>{key}</b> {title}\nЗавершено вручную: {why}",
    "needs input": "✋ <b>{key}</b> {title}\nНужен человек на этапе {stage}: {reason}",
    "blocked": "⛔ <b>{key}</b> {title}\nЗаблокировано на стадии {stage}: {reason}",
    "escalated": "🆘 <b>{key}</b> {title}\nНужен человек, стадия {stage}: {reason}",
    "overdue": "⏰ <b>{key}</b> {title}\nОжидание с {since}: {sentence}",
    "recovered": "♻️ <b>{key}</b> {title}\nЗапуск на стадии {stage} умер, его работу продолжает другой.",
    "project_frozen": (
        "🧊 <b>{project}</b> заморожен: его запуски умирают снова и снова, последним {key} ({title}). "
        "Ничего в нём не начнётся, пока вы не разберётесь и не вызовете <code>orch thaw {project}</code>."
    ),
    "done": "✅ <b>{key}</b> {title}\nГотово: коммит {commit} в ветке {branch}.",
    "cancelled": "🛑 <b>{key}</b> {title}\nОстановлено и отменено на стадии {stage}.",
    "stop_waits": "🛑 {key} будет остановлено, как только завершится необратимый шаг: {why}",
    "stop_left": "🛑 {key} остановлено, осталось как есть: {why}",
    "lease_released": "🔓 {key}: {who} забирает задачу у запуска {run}; её продолжит другой запуск.",
    "rolled_back": "↩️ {key} возвращается со стадии {from_stage} на {to_stage}: {reason}",
    "agent_finished": (
        "Роль {role} закончила попытку {visit} стадии {stage} "
        "(токены: {tokens} на входе, {output} на выходе, ${cost}).\n{markup}"
    ),
    "ignored": "{why}",
    "intake_refused": "{key} не взято в работу: {why}",
}
