"""Writes the descriptor set of OTLP's services from the packaged messages. usage: descriptors.py FILE"""
import sys
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

descriptors, seen = FileDescriptorSet(), set()


def add(file):
    if file.name not in seen:
        seen.add(file.name)
        for dependency in file.dependencies:
            add(dependency)
        file.CopyToProto(descriptors.file.add())


for service in (trace_service_pb2, metrics_service_pb2, logs_service_pb2):
    add(service.DESCRIPTOR)
with open(sys.argv[1], "wb") as file:
    file.write(descriptors.SerializeToString())
