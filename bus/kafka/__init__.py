"""The log on Apache Kafka, by kafka-python: transactional producers, read-committed consumers."""

from bus.kafka.log import KafkaLog

__all__ = ["KafkaLog"]
