"""What is measured: one module for each subject."""

from subjects import channels, compression, connecting, echo, fanout, idle, latency, memory, pipeline, tls

ALL = (
    *(module.SUBJECT for module in (echo, fanout, latency, channels, connecting, memory, idle, pipeline, compression)),
    tls.SUBJECT,
    tls.MEMORY,
)
BY_NAME = {subject.name: subject for subject in ALL}
MEASURES = {measure.name: measure for subject in ALL for measure in subject.measures}
