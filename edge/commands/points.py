"""The steps of a command at which a power cut is tried, in their order."""

RECEIVED = "command.received"
VERIFIED = "command.verified"
JOURNALLED = "command.journalled"
BEFORE_ACTUATION = "command.before_actuation"
AFTER_ACTUATION = "command.after_actuation"
BEFORE_RESULT = "command.before_result"
RESULT_JOURNALLED = "command.result_journalled"

CRASH_POINTS = (
    RECEIVED,
    VERIFIED,
    JOURNALLED,
    BEFORE_ACTUATION,
    AFTER_ACTUATION,
    BEFORE_RESULT,
    RESULT_JOURNALLED,
)
