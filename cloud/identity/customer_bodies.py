"""What customers' routes take and give."""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from cloud.identity.customer_rules import Agreed
from cloud.identity.customers import Card, Changes
from cloud.identity.model import LONGEST_PASSWORD, SHORTEST_PASSWORD
from cloud.identity.sign_up import Wish
from cloud.kit.http import Moment

_Document = Annotated[str, Field(pattern="^[a-z][a-z_]{0,31}$")]
_Version = Annotated[str, Field(pattern="^[0-9A-Za-z.-]{1,32}$")]
_Language = Annotated[str, Field(min_length=2, max_length=35, description="BCP 47, such as de")]
_Zone = Annotated[str, Field(min_length=1, max_length=64, description="IANA: Europe/Berlin")]
_Name = Annotated[str, Field(min_length=1, max_length=100)]
_Email = Annotated[str, Field(min_length=3, max_length=254)]


class AgreedBody(BaseModel, extra="forbid"):
    """A version of a document that is agreed to."""

    document: _Document
    version: _Version

    def agreed(self) -> Agreed:
        """Return it as the rules know it."""
        return Agreed(self.document, self.version)


class SignUpBody(BaseModel, extra="forbid"):
    """Who wants to be a customer."""

    email: _Email
    password: str = Field(min_length=SHORTEST_PASSWORD, max_length=LONGEST_PASSWORD, repr=False)
    name: _Name
    language: _Language = "en"
    time_zone: _Zone = "UTC"
    consents: list[AgreedBody] = Field(max_length=20)

    def wish(self) -> Wish:
        """Return it as the sign-up knows it."""
        return Wish(
            email=self.email,
            password=self.password,
            name=self.name,
            language=self.language,
            time_zone=self.time_zone,
            consents=[one.agreed() for one in self.consents],
        )


class EmailBody(BaseModel, extra="forbid"):
    """Whose mail is wanted again."""

    email: _Email


class ResetBody(BaseModel, extra="forbid"):
    """The token of a link to a new password, and that password."""

    token: str = Field(min_length=1, max_length=200, repr=False)
    password: str = Field(min_length=SHORTEST_PASSWORD, max_length=LONGEST_PASSWORD, repr=False)


class TokenBody(BaseModel, extra="forbid"):
    """The token of a verification link; pages also ask for the password of the sign-up again."""

    token: str = Field(min_length=1, max_length=200, repr=False)
    password: str | None = Field(
        default=None, min_length=1, max_length=LONGEST_PASSWORD, repr=False
    )


class DocumentBody(BaseModel):
    """A document in force; titles and texts by language."""

    model_config = ConfigDict(from_attributes=True)

    document: str
    version: str
    required: bool
    titles: dict[str, str]
    texts: dict[str, str]
    valid_from: Moment


class CustomerBody(BaseModel):
    """What a customer has said of themselves; `id` is how other routes name them."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    email: str
    name: str
    language: str
    time_zone: str
    verified_at: Moment


class ChangesBody(BaseModel, extra="forbid"):
    """What is to be another."""

    name: _Name | None = None
    language: _Language | None = None
    time_zone: _Zone | None = None

    def changes(self) -> Changes:
        """Return it as customers know it."""
        return Changes(self.name, self.language, self.time_zone)


class ConsentWish(AgreedBody):
    """A yes, or with `given: false` a no, to a version of a document."""

    given: bool = True


class ConsentBody(BaseModel):
    """A yes or a no that was said."""

    model_config = ConfigDict(from_attributes=True)

    document: str
    version: str
    given: bool
    at: Moment


class MethodWish(BaseModel, extra="forbid"):
    """A card as its provider's page told it: a token, and what is printed on receipts."""

    provider: str = Field(pattern="^[a-z][a-z0-9_]{1,31}$")
    token: str = Field(pattern="^[A-Za-z0-9_.:-]{3,255}$", repr=False)
    last4: str = Field(pattern="^[0-9]{4}$")
    brand: str = Field(pattern="^[A-Za-z][A-Za-z ]{0,31}$")

    def card(self) -> Card:
        """Return it as customers know it."""
        return Card(self.provider, self.token, self.last4, self.brand)


class MethodBody(BaseModel):
    """A card of the customer's; its token is not told."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    provider: str
    last4: str
    brand: str
    added_at: Moment
