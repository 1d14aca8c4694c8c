"""What ingest counts. Names are part of `/metrics`."""

from prometheus_client import Counter, Gauge, Histogram

READINGS = Counter("mobility_readings_committed", "Readings of the signal lane, committed as sound")
SEGMENTS = Counter(
    "mobility_segments",
    "Segments by what became of them",
    ["outcome"],
)
ACK_LAG = Histogram(
    "mobility_ack_lag_seconds",
    "Seconds from the receipt of a segment to its ack",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
BATCH_SEGMENTS = Histogram(
    "mobility_ingest_batch_segments",
    "Segments in one transaction",
    buckets=(1, 4, 16, 64, 128, 256),
)
QUEUE = Gauge("mobility_ingest_queue_segments", "Segments received and waiting")
DROPPED = Counter("mobility_ingest_dropped", "Payloads dropped; devices send them again", ["why"])
SLOW_CONSUMER = Counter("mobility_ingest_slow_consumer", "Times NATS dropped for us")
CONNECTED = Gauge("mobility_connected_devices", "Devices connected now")
ADMITTED = Counter("mobility_admitted", "Connections of devices that the gate let in")
REFUSED = Counter("mobility_refused", "What was tried and refused", ["what", "reason"])
CUT = Counter("mobility_connections_cut", "Live connections that were cut", ["reason"])
CLONES = Counter("mobility_clone_alarms", "Clone alarms raised")
COMMANDS = Counter("mobility_commands", "Commands that ended", ["kind", "state"])
COMMANDS_SENT = Counter("mobility_commands_sent", "Commands put on the link, repeats included")
COMMAND_LAG = Histogram(
    "mobility_command_lag_seconds",
    "Seconds from the request of a command to its first sending",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 30),
)
COMMANDS_OPEN = Gauge("mobility_commands_open", "Commands that nobody has answered", ["state"])
COMMAND_SECONDS = Histogram(
    "mobility_command_seconds",
    "Seconds from the request of a command, or its approval, to the end that its device told",
    ["kind"],
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60),
)
TWINS_SENT = Counter("mobility_twins_sent", "Twins put on the link, repeats included")
TWINS = Counter("mobility_twins", "What devices said of twins", ["state"])
TWINS_BEHIND = Gauge("mobility_twins_behind", "Devices that have not applied their newest twin")
CERTIFICATES = Counter("mobility_certificates_issued", "Certificates given to devices", ["how"])
CERTIFICATES_ENDING = Gauge(
    "mobility_certificates_ending",
    "Devices whose last certificate has less than a sixth of its life left and was not renewed",
)
ANSWERS_IGNORED = Counter(
    "mobility_answers_ignored", "Answers of devices that changed nothing", ["why"]
)
