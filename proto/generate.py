"""Generate `node/tocsin/v1` from the contract, or check that it is fresh (`--check`).

Besides the Python modules it writes `contract.binpb`: the same descriptors
with their comments, from which `tocsin.schema` reads the field documentation.
"""

import filecmp
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "node" / "tocsin" / "v1"


def generate(into: Path) -> Path:
    """Write the generated package below `into` and return its folder."""
    protos = sorted((ROOT / "proto" / "tocsin" / "v1").glob("*.proto"))
    google = Path(protoc.__file__).parent / "_proto"
    package = into / "tocsin" / "v1"
    package.mkdir(parents=True, exist_ok=True)
    outputs = [f"--python_out={into}", f"--mypy_out=quiet:{into}"]
    command = ["protoc", f"-I{ROOT / 'proto'}", f"-I{google}", *outputs, *map(str, protos)]
    services = [str(path) for path in protos if path.stem.endswith("_service")]
    stubs = ["protoc", command[1], command[2], f"--grpc_python_out={into}", f"--mypy_grpc_out=quiet:{into}", *services]
    described = ["protoc", command[1], command[2], "--include_source_info"]
    described += [f"--descriptor_set_out={package / 'contract.binpb'}", *map(str, protos)]
    for arguments in (command, stubs, described):
        if protoc.main(arguments):
            raise SystemExit(f"protoc failed: {' '.join(arguments)}")
    (package / "__init__.py").write_text('"""This package is generated from proto/tocsin/v1; never edit it."""\n')
    return package


def main() -> None:
    """Generate in place, or into a temporary folder and compare."""
    if "--check" not in sys.argv:
        for old in TARGET.glob("*.py*"):
            old.unlink()
        generate(ROOT / "node")
        return
    with tempfile.TemporaryDirectory() as folder:
        fresh = generate(Path(folder))
        names = sorted({p.name for p in fresh.iterdir()} | {p.name for p in TARGET.iterdir() if p.is_file()})
        _, different, missing = filecmp.cmpfiles(fresh, TARGET, names, shallow=False)
        if different or missing:
            raise SystemExit(f"node/tocsin/v1 is stale ({', '.join(different + missing)}): run `make proto`")


if __name__ == "__main__":
    main()
