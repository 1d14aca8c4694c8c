"""How an agent ends in order to be started again."""

EXIT_CODE = 75
"""EX_TEMPFAIL of sysexits: whoever watches the process starts it again."""


class AgentRestart(Exception):  # noqa: N818 - nothing went wrong
    """The agent was told to start again; everything is closed in good order on its way out."""
