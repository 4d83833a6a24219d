"""This module lets what answers peers be replaced while it serves: each call goes to the service of the moment.

gRPC takes the methods of a service once, when a listener opens. A reload puts
another service together, with other keys, and the listener stays open.
"""

from collections.abc import Callable

from tocsin.services.interceptors import Context
from tocsin.v1 import exchange_service_pb2
from tocsin.v1.exchange_service_pb2_grpc import ExchangeServiceServicer


def exchange_service(current: Callable[[], ExchangeServiceServicer]) -> ExchangeServiceServicer:
    """Return ExchangeService, as the service does it that `current` returns when a call comes."""
    service = exchange_service_pb2.DESCRIPTOR.services_by_name["ExchangeService"]
    methods = {rpc.name: _delegate(current, rpc.name) for rpc in service.methods}
    servicer: ExchangeServiceServicer = type("ExchangeService", (ExchangeServiceServicer,), methods)()
    return servicer


def _delegate(current: Callable[[], ExchangeServiceServicer], name: str) -> Callable[[object, object, Context], object]:
    def call(service: object, request: object, context: Context) -> object:
        answer: object = getattr(current(), name)(request, context)
        return answer

    return call
