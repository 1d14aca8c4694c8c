"""What pages say of problems and of rentals that came to nothing, in the languages of `ride_words`.

Problems are found by the last part of their type; one without words here is told as the API does.
"""

from collections.abc import Mapping

PROBLEMS: Mapping[str, tuple[str, str]] = {
    "vehicle-taken": (
        "Somebody was faster. Choose another vehicle.",
        "Jemand war schneller. Wählen Sie ein anderes Fahrzeug.",
    ),
    "vehicle-unavailable": (
        "This vehicle cannot be had now. Choose another one.",
        "Dieses Fahrzeug ist gerade nicht zu haben. Wählen Sie ein anderes.",
    ),
    "hold-gone": (
        "The hold has ended. Hold a vehicle again.",
        "Die Reservierung ist vorbei. Reservieren Sie noch einmal.",
    ),
    "already-riding": (
        "You have a ride already. End it first.",
        "Sie haben schon eine Fahrt. Beenden Sie sie zuerst.",
    ),
    "payment-needed": (
        "The card did not pay. Add another card under Payment.",
        "Die Karte hat nicht bezahlt. Fügen Sie unter Zahlung eine andere hinzu.",
    ),
    "wrong-state": (
        "That is not possible now. The page shows how the ride stands.",
        "Das geht gerade nicht. Die Seite zeigt, wie die Fahrt steht.",
    ),
    "vehicle-moving": (
        "Stop first, then end the ride.",
        "Bitte erst anhalten, dann die Fahrt beenden.",
    ),
    "bay-full": (
        "This bay is full. Ride to another one.",
        "Diese Fläche ist voll. Fahren Sie zu einer anderen.",
    ),
    "link-unknown": (
        "This link is not one of ours. Open the link of the mail once more, whole.",
        "Dieser Link ist keiner von uns. Öffnen Sie den Link aus der Mail noch einmal, ganz.",
    ),
    "link-used": (
        "Your address is confirmed already. Sign in.",
        "Ihre Adresse ist schon bestätigt. Melden Sie sich an.",
    ),
    "link-expired": (
        "This link has expired. Have the mail sent again below.",
        "Dieser Link ist abgelaufen. Lassen Sie die Mail unten noch einmal schicken.",
    ),
    "password-differs": (
        "This is not the password you signed up with. If you did not sign up, do so yourself.",
        "Das ist nicht das Passwort der Registrierung. War es nicht Ihre, registrieren Sie sich.",
    ),
    "reset-link-used": (
        "This link has been used. Sign in, or ask for another one.",
        "Dieser Link ist schon benutzt. Melden Sie sich an, oder fordern Sie einen neuen an.",
    ),
    "reset-link-expired": (
        "This link has expired. Ask for another one.",
        "Dieser Link ist abgelaufen. Fordern Sie einen neuen an.",
    ),
    "too-many-resets": (
        "That was asked for often. Look into your mailbox, or try again in a quarter of an hour.",
        "Das kam gerade oft. Sehen Sie in Ihr Postfach, oder warten Sie eine Viertelstunde.",
    ),
    "too-many-sign-ups": (
        "That was asked for often. Look into your mailbox, or try again in a quarter of an hour.",
        "Das kam gerade oft. Sehen Sie in Ihr Postfach, oder warten Sie eine Viertelstunde.",
    ),
    "busy": (
        "Many people are here just now. Try again in a second.",
        "Gerade ist viel los. Versuchen Sie es gleich noch einmal.",
    ),
    "no-photo": (
        "This is no photo. Choose a JPEG, PNG or WebP.",
        "Das ist kein Foto. Wählen Sie JPEG, PNG oder WebP.",
    ),
    "photo-broken": (
        "The photo cannot be read. Take another one.",
        "Das Foto ist nicht lesbar. Nehmen Sie ein anderes auf.",
    ),
    "photo-too-large": (
        "The photo has more than 8 MB.",
        "Das Foto hat mehr als 8 MB.",
    ),
    "return-reviewed": (
        "Somebody else has decided this return.",
        "Diese Rückgabe hat schon jemand entschieden.",
    ),
    "return-decided": (
        "This return needs no more photos.",
        "Diese Rückgabe braucht keine Fotos mehr.",
    ),
    "too-many-photos": (
        "There are enough photos. End the ride.",
        "Es sind genug Fotos. Beenden Sie die Fahrt.",
    ),
}

REASONS: Mapping[str, tuple[str, str]] = {
    "payment_declined": ("The card was declined.", "Die Karte wurde abgelehnt."),
    "payment_unanswered": (
        "The bank did not answer in time.",
        "Die Bank hat nicht rechtzeitig geantwortet.",
    ),
    "unlock_unanswered": (
        "The vehicle did not answer in time.",
        "Das Fahrzeug hat nicht rechtzeitig geantwortet.",
    ),
    "not_unlocked": (
        "The vehicle did not unlock.",
        "Das Fahrzeug hat nicht entsperrt.",
    ),
    "customer": ("You called it off.", "Sie haben abgebrochen."),
    "called_off": (
        "You brought it back at once.",
        "Sie haben es gleich zurückgebracht.",
    ),
}
