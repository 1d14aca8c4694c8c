"""The door of booking: taking vehicles, rentals and their timelines, search."""

from cloud.booking.adapters import real_parts
from cloud.booking.bodies import FoundBody, found_body
from cloud.booking.finding import Follower, Found, Near, find
from cloud.booking.holds import Hold, block, cancel_hold, find_hold, hold, unblock
from cloud.booking.meters import Meters, close
from cloud.booking.model import FINAL, METERED, Entry, Place, RideTimes, times
from cloud.booking.ports import Customer, Facts, Fee, Parts, Payments, Policy, Quote, Vehicles
from cloud.booking.problems import NoSuchRentalError, WrongStateError
from cloud.booking.searching import searcher
from cloud.booking.service import call_off, confirm_end, end_requested, pause, resume, start
from cloud.booking.store.rentals import Rental, newest_in, newest_of, timeline
from cloud.booking.store.search import anywhere, vehicle_names
from cloud.booking.views import RentalView, rental, view

__all__ = [
    "FINAL",
    "METERED",
    "Customer",
    "Entry",
    "Facts",
    "Fee",
    "Follower",
    "Found",
    "FoundBody",
    "Hold",
    "Meters",
    "Near",
    "NoSuchRentalError",
    "Parts",
    "Payments",
    "Place",
    "Policy",
    "Quote",
    "Rental",
    "RentalView",
    "RideTimes",
    "Vehicles",
    "WrongStateError",
    "anywhere",
    "block",
    "call_off",
    "cancel_hold",
    "close",
    "confirm_end",
    "end_requested",
    "find",
    "find_hold",
    "found_body",
    "hold",
    "newest_in",
    "newest_of",
    "pause",
    "real_parts",
    "rental",
    "resume",
    "searcher",
    "start",
    "timeline",
    "times",
    "unblock",
    "vehicle_names",
    "view",
]
