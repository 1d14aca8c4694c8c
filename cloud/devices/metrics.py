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
TWINS_SENT = Counter("mobility_twins_sent", "Twins put on the link, repeats included")
TWINS = Counter("mobility_twins", "What devices said of twins", ["state"])
ANSWERS_IGNORED = Counter(
    "mobility_answers_ignored", "Answers of devices that changed nothing", ["why"]
)
