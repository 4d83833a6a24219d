"""This module lets what answers peers be replaced while it serves: each call goes to the service of the moment.

gRPC takes the methods of a service once, when a listener opens. A reload puts
another service together, with other keys, and the listener stays open.
"""

from collections.abc import Callable, Iterable

from tocsin.services.interceptors import Context
from tocsin.v1 import exchange_service_pb2, log_service_pb2
from tocsin.v1.exchange_service_pb2_grpc import ExchangeServiceServicer
from tocsin.v1.log_service_pb2_grpc import LogServiceServicer


def exchange_service(current: Callable[[], ExchangeServiceServicer]) -> ExchangeServiceServicer:
    """Return ExchangeService, as the service does it that `current` returns when a call comes."""
    methods = _methods(exchange_service_pb2.DESCRIPTOR.services_by_name["ExchangeService"].methods_by_name, current)
    servicer: ExchangeServiceServicer = type("ExchangeService", (ExchangeServiceServicer,), methods)()
    return servicer


def log_service(current: Callable[[], LogServiceServicer]) -> LogServiceServicer:
    """Return LogService, as the service does it that `current` returns when a call comes."""
    methods = _methods(log_service_pb2.DESCRIPTOR.services_by_name["LogService"].methods_by_name, current)
    servicer: LogServiceServicer = type("LogService", (LogServiceServicer,), methods)()
    return servicer


def _methods(names: Iterable[str], current: Callable[[], object]) -> dict[str, Callable[..., object]]:
    return {name: _call(current, name) for name in names}


def _call(current: Callable[[], object], name: str) -> Callable[[object, object, Context], object]:
    def call(service: object, request: object, context: Context) -> object:
        answer: object = getattr(current(), name)(request, context)
        return answer

    return call
