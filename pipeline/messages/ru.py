"""Russian texts."""

RU: dict[str, str] = {
    "approval_asked": "📝 <b>{key}</b> {title}\nАнализ готов и ждёт утверждения (коммит {commit}).\n{markup}",
    "confirmation_asked": (
        "🚀 <b>{key}</b> {title}\nВсе проверки пройдены. Выкатить коммит {commit} в прод? "
        "Переведите карточку в <i>Confirm Deploy</i>.\n{markup}"
    ),
    "question_asked": "❓ <b>{key}</b> {title}\nРоль {role} спрашивает: {question}\n{markup}",
    "blocked": "⛔ <b>{key}</b> {title}\nЗаблокировано на стадии {stage}: {reason}",
    "escalated": "🆘 <b>{key}</b> {title}\nНужен человек, стадия {stage}: {reason}",
    "overdue": "⏰ <b>{key}</b> {title}\nОжидание с {since}: {sentence}",
    "recovered": "♻️ <b>{key}</b> {title}\nЗапуск на стадии {stage} умер, его работу продолжает другой.",
    "done": "✅ <b>{key}</b> {title}\nГотово: коммит {commit} в ветке {branch}.",
    "cancelled": "🛑 <b>{key}</b> {title}\nОстановлено и отменено на стадии {stage}.",
    "rolled_back": "↩️ {key} возвращается со стадии {from_stage} на {to_stage}: {reason}",
    "agent_finished": (
        "Роль {role} закончила попытку {visit} стадии {stage} "
        "(токены: {tokens} на входе, {output} на выходе, ${cost}).\n{markup}"
    ),
    "ignored": "{why}",
    "intake_refused": "{key} не взято в работу: {why}",
}
