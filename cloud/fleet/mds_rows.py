"""The legal steps of MDS 2.0 as data: (from state, event type, to state), by mode.

Adapted from the state transition tables of the Mobility Data Specification 2.0.2, `modes/*.md`,
(c) Open Mobility Foundation, CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/), at
`fb4d24e19066a41c091cea8d5a5f76a864263f69` of openmobilityfoundation/mobility-data-specification.
"""

from collections.abc import Mapping
from typing import Literal

Mode = Literal["micromobility", "car-share"]
Row = tuple[str, str, str]

_MICROMOBILITY = """
available agency_pick_up removed
available battery_low non_operational
available comms_lost non_contactable
available compliance_pick_up removed
available decommissioned removed
available maintenance non_operational
available maintenance_pick_up removed
available off_hours non_operational
available rebalance_pick_up removed
available reservation_start reserved
available system_suspend non_operational
available trip_start on_trip
available unspecified non_contactable
available unspecified non_operational
available unspecified removed
elsewhere agency_pick_up removed
elsewhere comms_lost non_contactable
elsewhere compliance_pick_up removed
elsewhere decommissioned removed
elsewhere maintenance_pick_up removed
elsewhere rebalance_pick_up removed
elsewhere trip_enter_jurisdiction on_trip
elsewhere unspecified non_contactable
elsewhere unspecified removed
missing agency_drop_off available
missing agency_pick_up removed
missing decommissioned removed
missing located available
missing located elsewhere
missing located non_operational
missing located on_trip
missing located removed
missing located reserved
missing provider_drop_off available
missing unspecified available
missing unspecified elsewhere
missing unspecified non_operational
missing unspecified on_trip
missing unspecified removed
missing unspecified reserved
non_contactable agency_drop_off available
non_contactable agency_pick_up removed
non_contactable comms_restored available
non_contactable comms_restored elsewhere
non_contactable comms_restored non_operational
non_contactable comms_restored on_trip
non_contactable comms_restored removed
non_contactable comms_restored reserved
non_contactable decommissioned removed
non_contactable not_located missing
non_contactable provider_drop_off available
non_contactable unspecified available
non_contactable unspecified elsewhere
non_contactable unspecified missing
non_contactable unspecified non_operational
non_contactable unspecified on_trip
non_contactable unspecified removed
non_contactable unspecified reserved
non_operational agency_pick_up removed
non_operational battery_charged available
non_operational comms_lost non_contactable
non_operational compliance_pick_up removed
non_operational decommissioned removed
non_operational maintenance available
non_operational maintenance_pick_up removed
non_operational on_hours available
non_operational rebalance_pick_up removed
non_operational system_resume available
non_operational unspecified available
non_operational unspecified non_contactable
non_operational unspecified removed
on_trip changed_geographies on_trip
on_trip comms_lost non_contactable
on_trip trip_cancel available
on_trip trip_end available
on_trip trip_leave_jurisdiction elsewhere
on_trip unspecified non_contactable
removed agency_drop_off available
removed comms_lost non_contactable
removed provider_drop_off available
removed unspecified non_contactable
reserved comms_lost non_contactable
reserved reservation_cancel available
reserved trip_start on_trip
reserved unspecified non_contactable
"""

_CAR_SHARE = """
available comms_lost non_contactable
available reservation_start reserved
available service_end non_operational
available trip_leave_jurisdiction elsewhere
elsewhere comms_lost non_contactable
elsewhere trip_enter_jurisdiction available
elsewhere trip_enter_jurisdiction non_operational
elsewhere trip_enter_jurisdiction on_trip
elsewhere trip_enter_jurisdiction reserved
non_contactable comms_restored available
non_contactable comms_restored elsewhere
non_contactable comms_restored non_operational
non_contactable comms_restored on_trip
non_contactable comms_restored removed
non_contactable comms_restored reserved
non_contactable comms_restored stopped
non_operational comms_lost non_contactable
non_operational decommissioned removed
non_operational maintenance removed
non_operational maintenance_pick_up removed
non_operational service_start available
non_operational trip_leave_jurisdiction elsewhere
on_trip comms_lost non_contactable
on_trip trip_leave_jurisdiction elsewhere
on_trip trip_stop stopped
removed comms_lost non_contactable
removed maintenance_end non_operational
removed recommissioned non_operational
reserved comms_lost non_contactable
reserved customer_cancellation available
reserved driver_cancellation available
reserved provider_cancellation available
reserved reservation_stop stopped
reserved trip_leave_jurisdiction elsewhere
stopped charging_end stopped
stopped charging_start stopped
stopped comms_lost non_contactable
stopped customer_cancellation available
stopped driver_cancellation available
stopped fueling_end stopped
stopped fueling_start stopped
stopped provider_cancellation available
stopped remote_end stopped
stopped remote_start stopped
stopped trip_end available
stopped trip_resume on_trip
stopped trip_start on_trip
"""


def _rows(text: str) -> frozenset[Row]:
    split = (line.split() for line in text.split("\n") if line)
    return frozenset((before, event, after) for before, event, after in split)


ROWS: Mapping[Mode, frozenset[Row]] = {
    "micromobility": _rows(_MICROMOBILITY),
    "car-share": _rows(_CAR_SHARE),
}
"""Every legal step, and no other."""
