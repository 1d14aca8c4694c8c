"""The door of returns: ending rides, their photos, how a return stands."""

from cloud.returns.adapters import RuleVerifier, real_parts
from cloud.returns.bodies import ReturnBody, return_body
from cloud.returns.model import Evidence, Ground, Judgement, Policy, Position
from cloud.returns.photos import BrokenPhotoError, NotAPhotoError, Shot, read_photo
from cloud.returns.ports import Parts, Verifier, VerifierDownError
from cloud.returns.reviewing import Case, case
from cloud.returns.service import Here, end, look
from cloud.returns.store import PhotoRow, Return, to_review
from cloud.returns.store import find as find_return
from cloud.returns.store import photos as photos_of
from cloud.returns.uploads import add_photo, forget_photos

__all__ = [
    "BrokenPhotoError",
    "Case",
    "Evidence",
    "Ground",
    "Here",
    "Judgement",
    "NotAPhotoError",
    "Parts",
    "PhotoRow",
    "Policy",
    "Position",
    "Return",
    "ReturnBody",
    "RuleVerifier",
    "Shot",
    "Verifier",
    "VerifierDownError",
    "add_photo",
    "case",
    "end",
    "find_return",
    "forget_photos",
    "look",
    "photos_of",
    "read_photo",
    "real_parts",
    "return_body",
    "to_review",
]
