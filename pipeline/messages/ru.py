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
    "budget_asked": (
        "💰 <b>{key}</b> {title}\n{question} Роль {role} не запущена.\n"
        "Ответьте в карточке <i>go on</i>, заполните форму или выполните <code>orch approve {key}</code>, чтобы "
        "разрешить ещё один запуск.\n{markup}"
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
    "card_gone": (
        "🔍 <b>{key}</b> {title}\nКарточку не найти, поэтому на стадии {stage} ничего не запускается: {why}\n"
        "Верните карточку или завершите задачу командой <code>orch stop {key}</code>."
    ),
    "done": "✅ <b>{key}</b> {title}\nГотово: коммит {commit} в ветке {branch}.",
    "cancelled": "🛑 <b>{key}</b> {title}\nОстановлено и отменено на стадии {stage}.",
    "stop_waits": "🛑 {key} будет остановлено, как только завершится необратимый шаг: {why}",
    "stop_overdue": (
        "⏰ <b>{key}</b> {title}\nОстановка запрошена {since} и ещё не завершена. Попытки продолжаются; "
        "чего она ждёт, говорит последний запуск <i>stop</i> в Prefect."
    ),
    "stop_left": "🛑 {key} остановлено, осталось как есть: {why}",
    "lease_released": "🔓 {key}: {who} забирает задачу у запуска {run}; её продолжит другой запуск.",
    "rolled_back": "↩️ {key} возвращается со стадии {from_stage} на {to_stage}: {reason}",
    "agent_finished": (
        "Роль {role} закончила попытку {visit} стадии {stage} "
        "(токены: {tokens} на входе, {output} на выходе, ${cost}).\n{markup}"
    ),
    "ignored": "{why}",
    "intake_refused": "{key} не взято в работу: {why}",
    "degraded": "🔥 <b>{key}</b> {title}\nПосле выкатки с продом не всё в порядке: {reason}",
    "chat_moved": (
        "📮 У этого чата новый номер: {chat}. Укажите его в ORCH_TELEGRAM_CHAT_ID и в поле chat_id блока Telegram "
        "Notification <i>orch</i> на страницах Prefect: действует то, что в блоке."
    ),
    "set_aside": (
        "🕰 Более поздняя версия Orch записала то, чего эта не знает: {what}. Запись остаётся как есть, пока та версия "
        "не будет запущена снова; всё остальное продолжается."
    ),
    "webhook_was_missing": "🪝 У <b>{repository}</b> не было вебхука на {url}; Orch создал его.",
    "webhook_was_faulty": "🪝 <b>{repository}</b>: вебхук на {url} сообщал не обо всём ({why}); Orch создал его заново.",
    "webhook_refused": (
        "🪝 <b>{repository}</b>: Gitea не даёт Orch следить за вебхуком на {url}: {why}\n"
        "Дайте пользователю Orch права администратора репозитория или сами проверьте, что этот вебхук есть и включён."
    ),
    "plane_refuses": (
        "🔑 Plane не пускает Orch в проект <b>{project}</b>: {why}\n"
        "Пока это не исправлено, перемещения карточек там не слышны: вызовите <code>orch connect plane</code>, команда "
        "скажет, чего не хватает. То, о чём успели попросить, начнётся само в течение получаса."
    ),
    "start_gone": "🔍 {key} не начат: его карточки больше нет: {why}",
    "plane_silent": (
        "🔕 Похоже, вебхук Plane выключен: с {since} от него ничего не пришло, а карточки двигались в {projects}. "
        "Plane выключает вебхук, когда доставка слишком часто не удаётся. Включите его снова в <i>Workspace settings, "
        "Webhooks</i>; его адрес: {url}."
    ),
    # --- живое сообщение о задаче
    "card_stage": "Стадия: {stage}, заход {visit}",
    "card_waits": "⏳ Ждёт ({for_what}): {reason}",
    "card_at_work": "⚙️ В работе",
    "card_blocked": "⛔ Заблокировано: {reason}",
    "card_escalated": "🆘 Нужно решение человека: {reason}",
    "card_needs input": "✋ Нужен человек: {reason}",
    "card_stopping": "🛑 Останавливается",
    "card_cancelled": "🛑 Отменено",
    "card_done": "✅ Готово, в основной ветке как {commit}",
    "card_done_by_hand": "✅ Завершено вручную",
    "card_attempts": "Потрачено попыток: {spent}",
    "card_label": "🏷 Решено меткой {label}.",
    "card_cost": "Стоимость на сейчас: ${cost}",
    "stage analysis": "анализ",
    "stage architecture": "архитектура",
    "stage development": "разработка",
    "stage review": "ревью",
    "stage testing": "тестирование",
    "stage deploy_staging": "слияние и стейджинг",
    "stage deploy": "выкатка",
    "stage done": "готово",
    "stage cancelled": "отменено",
    "role analyst": "аналитик",
    "role architect": "архитектор",
    "role developer": "разработчик",
    "role reviewer": "ревьюер",
    "role tester": "тестировщик",
    "role deployer": "выкатка",
    "wait approval": "утверждение",
    "wait confirmation": "подтверждение выкатки",
    "wait answer": "ответ на вопрос",
    "wait budget": "разрешение выйти за бюджет",
    "wait integrity": "решение об ослабленных проверках",
    "wait verdict": "новый вердикт",
    "wait ci": "CI",
    "wait merge-turn": "очередь на слияние",
    "wait dependency": "другие задачи",
    "wait serial": "место в проекте",
    "wait freeze": "снятие заморозки",
    "wait deploy": "окончание выкатки",
    "wait monitor": "окончание наблюдения за продом",
    "wait back-off": "следующая попытка",
    # --- ссылки и кнопки
    "link_brd": "Требования (01-brd.md)",
    "link_artifacts": "Артефакты",
    "link_pull": "Пул-реквест",
    "link_issue": "{key} в Plane",
    "button_approve": "✅ Утвердить",
    "button_reject": "❌ Отклонить",
    "button_accept": "✅ Принять",
    "button_confirm": "🚀 Подтвердить",
    # --- что видит нажавший кнопку
    "pressed_approve": "{key}: записано, утверждено.",
    "pressed_reject": "{key}: записано, отклонено.",
    "pressed_confirm": "{key}: записано, выкатка подтверждена.",
    "pressed_stale": "{key}: об этом уже не спрашивают. Ничего не изменено.",
    "pressed_unknown": "Orch не знает (или уже не помнит) этого вопроса. Ничего не изменено.",
    "pressed_not_allowed": "Вас нет среди тех, кто может здесь решать. Ничего не изменено.",
}
