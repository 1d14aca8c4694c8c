"""What identity's own mails say, in the languages there are. Pure."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlencode

LetterKind = Literal["verify", "known", "reset", "changed"]

_VERIFY = {
    "en": (
        "Confirm your e-mail address",
        """Welcome!

Somebody, we hope you, asked for an account with this e-mail address. Open this
link within 24 hours to confirm that the address is yours:

{link}

Opening it makes the account, with the password that was chosen when it was asked
for. Did somebody else ask, or choose that password? Then do not open the link:
without it there is no account. You can sign up yourself at any time here:

{anew}
""",
    ),
    "de": (
        "Bestätigen Sie Ihre E-Mail-Adresse",
        """Willkommen!

Jemand, hoffentlich Sie, möchte ein Konto mit dieser E-Mail-Adresse. Öffnen Sie
innerhalb von 24 Stunden diesen Link, um die Adresse zu bestätigen:

{link}

Damit entsteht das Konto, mit dem Passwort, das bei der Anmeldung gewählt wurde.
Hat sich jemand anders angemeldet oder dieses Passwort gewählt? Dann öffnen Sie
den Link nicht: Ohne ihn entsteht kein Konto. Selbst anmelden können Sie sich
jederzeit hier:

{anew}
""",
    ),
}
_KNOWN = {
    "en": (
        "You already have an account",
        """Hello,

somebody, perhaps you, asked for an account with this e-mail address. There is
one already, and nothing was changed. Sign in here:

{link}

If it was not you, there is nothing to do.
""",
    ),
    "de": (
        "Sie haben schon ein Konto",
        """Guten Tag,

jemand, vielleicht Sie, möchte ein Konto mit dieser E-Mail-Adresse. Es gibt schon
eines, und nichts wurde geändert. Hier melden Sie sich an:

{link}

Waren Sie es nicht, dann müssen Sie nichts tun.
""",
    ),
}
_RESET = {
    "en": (
        "Choose a new password",
        """Hello,

somebody, we hope you, lost the password of your account. Open this link within
an hour to choose a new one; it works once:

{link}

Choosing one signs you out everywhere. If it was not you who asked, there is
nothing to do: your password stays as it is.
""",
    ),
    "de": (
        "Wählen Sie ein neues Passwort",
        """Guten Tag,

jemand, hoffentlich Sie, hat das Passwort Ihres Kontos verloren. Öffnen Sie
innerhalb einer Stunde diesen Link, um ein neues zu wählen; er gilt einmal:

{link}

Mit dem neuen Passwort werden Sie überall abgemeldet. Waren Sie es nicht, dann
müssen Sie nichts tun: Ihr Passwort bleibt, wie es ist.
""",
    ),
}
_CHANGED = {
    "en": (
        "Your password was changed",
        """Hello,

the password of your account was changed, and you are signed out everywhere. Sign
in with the new one:

{link}

If it was not you, somebody reads your mail. Change the password of your mailbox,
then choose a new one here:

{anew}
""",
    ),
    "de": (
        "Ihr Passwort wurde geändert",
        """Guten Tag,

das Passwort Ihres Kontos wurde geändert, und Sie sind überall abgemeldet. Melden
Sie sich mit dem neuen an:

{link}

Waren Sie es nicht, dann liest jemand Ihre Mails. Ändern Sie das Passwort Ihres
Postfachs und wählen Sie danach hier ein neues:

{anew}
""",
    ),
}
_TEXTS = {"verify": _VERIFY, "known": _KNOWN, "reset": _RESET, "changed": _CHANGED}
# Where the link of a mail leads, and the second address that some have.
_PATHS = {
    "verify": ("/verify", "/sign-up"),
    "known": ("/sign-in", ""),
    "reset": ("/reset-password", ""),
    "changed": ("/sign-in", "/forgot-password"),
}
LANGUAGES = tuple(_VERIFY)
"""What mail can be written in; anything else is written in the first one."""


@dataclass(frozen=True, slots=True)
class Written:
    """A mail's subject and text."""

    subject: str
    text: str


def spoken(language: str) -> str:
    """Return the language to write in to somebody who wants this one (BCP 47)."""
    primary = language.partition("-")[0]
    return primary if primary in LANGUAGES else LANGUAGES[0]


def written(kind: LetterKind, language: str, public_url: str, token: str = "") -> Written:
    """Return a mail; links lead to `public_url`, with the token of a verification or a reset.

    Nothing in it was typed by whoever asked: nobody can send their words through us.
    """
    base = public_url.rstrip("/")
    # A fragment stays in the browser: the token gets into no log on its way.
    fragment = f"#{urlencode({'token': token})}" if token else ""
    path, anew = _PATHS[kind]
    subject, text = _TEXTS[kind][spoken(language)]
    return Written(subject, text.format(link=f"{base}{path}{fragment}", anew=f"{base}{anew}"))
