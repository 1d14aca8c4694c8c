"""The words of signing up, signing in and new passwords, in the languages of `ride_words`. Pure."""

from collections.abc import Mapping

ACCOUNT: Mapping[str, tuple[str, str]] = {
    # ---- sign-up
    "sign_up": ("Sign up", "Registrieren"),
    "sign_up_lead": (
        "An account takes a minute. You pay only for what you ride.",
        "Ein Konto dauert eine Minute. Sie zahlen nur, was Sie fahren.",
    ),
    "name": ("Name, as on the receipt", "Name, wie auf der Rechnung"),
    "email": ("E-mail address", "E-Mail-Adresse"),
    "password": ("Password", "Passwort"),
    "password_hint": ("At least {least} characters", "Mindestens {least} Zeichen"),
    "agree": ("I agree: {title}", "Ich stimme zu: {title}"),
    "optional": ("optional", "freiwillig"),
    "have_account": ("I have an account", "Ich habe schon ein Konto"),
    "no_account": ("New here? Sign up to ride", "Neu hier? Zum Fahren registrieren"),
    "mail_sent": ("Look into your mailbox", "Sehen Sie in Ihr Postfach"),
    "mail_sent_lead": (
        "We sent you a link. It is good for 24 hours.",
        "Wir haben Ihnen einen Link geschickt. Er gilt 24 Stunden.",
    ),
    "mail_demo": (
        "This cloud has no mail server: the mail lies in its outbox.",
        "Diese Cloud hat keinen Mailserver: Die Mail liegt in ihrem Postausgang.",
    ),
    "open_outbox": ("Open the outbox", "Postausgang öffnen"),
    "outbox": ("Outbox of this demo", "Postausgang dieser Demo"),
    "outbox_lead": (
        "Mail that would be sent, the newest first. Only this machine itself sees this page.",
        "Mails, die verschickt würden, die neuesten zuerst. Nur dieser Rechner sieht diese Seite.",
    ),
    "outbox_empty": ("No mail yet.", "Noch keine Mail."),
    "to": ("To", "An"),
    "verify": ("Confirm your address", "Adresse bestätigen"),
    "verify_lead": (
        "Type the password that you chose when you signed up. Then this address is yours.",
        "Geben Sie das Passwort ein, das Sie bei der Registrierung gewählt haben.",
    ),
    "verify_button": ("Confirm", "Bestätigen"),
    "verify_nothing": (
        "This address has no link in it. Open the link of the mail, whole.",
        "In dieser Adresse fehlt der Link. Öffnen Sie den Link aus der Mail, ganz.",
    ),
    "no_mail": ("No mail, or the link does not work?", "Keine Mail, oder der Link geht nicht?"),
    "resend": ("Send the mail again", "Mail noch einmal schicken"),
    "resend_lead": (
        "We send a fresh link if this address waits to be confirmed.",
        "Wir schicken einen neuen Link, falls diese Adresse noch zu bestätigen ist.",
    ),
    "resent": (
        "If this address waits to be confirmed, mail is on its way. Look into your mailbox.",
        "Falls diese Adresse noch zu bestätigen ist, ist eine Mail unterwegs.",
    ),
    "sign_up_anew": ("Sign up again", "Noch einmal registrieren"),
    "verified": (
        "Your address is confirmed. Sign in to ride.",
        "Ihre Adresse ist bestätigt. Melden Sie sich zum Fahren an.",
    ),
    # ---- a new password
    "forgot": ("Forgot your password?", "Passwort vergessen?"),
    "forgot_title": ("Choose a new password", "Neues Passwort wählen"),
    "forgot_lead": (
        "We send a link to your e-mail address. It works once, for an hour.",
        "Wir schicken einen Link an Ihre E-Mail-Adresse. Er gilt einmal und eine Stunde lang.",
    ),
    "forgot_button": ("Send the link", "Link schicken"),
    "forgot_sent": (
        "If there is an account with this address, a link is on its way. It is good for an hour.",
        "Gibt es ein Konto mit dieser Adresse, dann ist ein Link unterwegs. Er gilt eine Stunde.",
    ),
    "forgot_again": ("Ask for another link", "Einen neuen Link anfordern"),
    "new_password": ("New password", "Neues Passwort"),
    "reset_lead": (
        "You are then signed out on every device.",
        "Danach sind Sie auf allen Geräten abgemeldet.",
    ),
    "reset_button": ("Set the password", "Passwort setzen"),
    "reset_done": (
        "Your password is changed. Sign in with the new one.",
        "Ihr Passwort ist geändert. Melden Sie sich mit dem neuen an.",
    ),
    # ---- signing in
    "user_name": ("User name or e-mail address", "Benutzername oder E-Mail-Adresse"),
    "lost_account": (
        "Staff without an account, or with a lost password: an administrator helps with",
        "Personal ohne Konto oder Passwort: Die Verwaltung hilft mit",
    ),
    "signed_out": ("You are signed out.", "Sie sind abgemeldet."),
    "form_old": (
        "This form was open too long, or cookies are blocked. Please try again.",
        "Das Formular war zu lange offen, oder Cookies sind gesperrt. Bitte noch einmal.",
    ),
    "enter_both": (
        "Enter your user name and your password.",
        "Geben Sie Benutzername und Passwort ein.",
    ),
    "no_match": (
        "User name and password do not match. Check both and try again.",
        "Benutzername und Passwort passen nicht zusammen. Prüfen Sie beides.",
    ),
    "locked_1": (
        (
            "Too many wrong passwords. Try again in a minute, or ask an administrator to unlock the"
            " account."
        ),
        "Zu viele falsche Passwörter. Versuchen Sie es in einer Minute wieder.",
    ),
    "locked_n": (
        (
            "Too many wrong passwords. Try again in {minutes} minutes, or ask an administrator to"
            " unlock the account."
        ),
        "Zu viele falsche Passwörter. Versuchen Sie es in {minutes} Minuten wieder.",
    ),
    "busy": (
        "Many people sign in just now. Try again in a second.",
        "Gerade melden sich viele an. Versuchen Sie es gleich noch einmal.",
    ),
}
