"""What identity counts. Names are part of `/metrics`."""

from prometheus_client import Counter

SIGN_INS = Counter("mobility_sign_ins", "Sign-ins by what became of them", ["outcome"])
REFRESHES = Counter("mobility_token_refreshes", "Refreshes by what became of them", ["outcome"])
SIGN_UPS = Counter("mobility_sign_ups", "Customers' sign-ups by what became of them", ["outcome"])
RESETS = Counter("mobility_password_resets", "New passwords by what became of them", ["outcome"])
LETTERS = Counter("mobility_letters", "Identity's own mails by what became of them", ["outcome"])
