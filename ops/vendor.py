"""Fetches the console's third-party scripts into `alertd/console/static/vendor`.

Each package has one version and the integrity that npm published for it; any other package is refused. Only the files named here are
kept, as built, with two changes for browsers: bare module names become paths, and references to source maps are removed. Needs npm.
Run it after changing a version: .venv/bin/python ops/vendor.py
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

OUT = Path(__file__).parents[1] / "alertd/console/static/vendor"


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    integrity: str  # from `npm view NAME@VERSION dist.integrity`
    files: dict[str, str]  # path in the package -> name here


PACKAGES = (
    Package(
        "preact", "11.2.0",
        "sha512-/HfHI/7N84e6GrWBJ3J280z3mLaRJiDcSvj/A+y/4AbLnND/1UlGHe1sR6oYuTGwId0nP7dqDU9OnLxMPZ7xBg==",
        {"dist/preact.mjs": "preact.mjs", "hooks/dist/hooks.mjs": "hooks.mjs"},
    ),
    Package(
        "htm", "3.1.1",
        "sha512-983Vyg8NwUE7JkZ6NmOqpCZ+sh1bKv2iYTlUkzlWmA5JD2acKoxd4KVxbMmxX/85mtfdnDmTFoNKcg5DGAvxNQ==",
        {"dist/htm.mjs": "htm.mjs", "preact/index.mjs": "html.mjs"},
    ),
    Package(
        "maplibre-gl", "6.17.0",
        "sha512-2chIZwpLGenoUQOcnm9Pk4SLbA8ppNFq8jlpXiq9vcYm3Y1wJ3fc82FL0GLwBaPYJCLzPv/mC46KEupVov75rQ==",
        {
            "dist/maplibre-gl.mjs": "maplibre-gl.mjs", "dist/maplibre-gl-worker.mjs": "maplibre-gl-worker.mjs",
            "dist/maplibre-gl.css": "maplibre-gl.css",
        },
    ),
    Package(
        "terra-draw", "1.35.0",
        "sha512-uQI8lcPiUMqwVV29CexTfvT/AM4lGHtA+xWraW4njVExiM1+eGvRetYOBXmXEmgy5pL4X2dmjwMRH8JEYVtbgw==",
        {"dist/terra-draw.module.js": "terra-draw.mjs"},
    ),
    Package(
        "terra-draw-maplibre-gl-adapter", "1.4.1",
        "sha512-qZ/bc9bVPnyt0keLVTofV8xiTPkdkbO6RzqrfNLe9zH/edW5PsjvJw97m1EksPZeXNJtFxsVbhi12cPaoNiWfg==",
        {"dist/terra-draw-maplibre-gl-adapter.module.js": "terra-draw-maplibre.mjs"},
    ),
    Package(
        "pmtiles", "4.5.0",
        "sha512-CBeD4SoUluFziGdy/8k7FOjQxQy486n+929W/tWophauvMICpkZ26vGBWhDt/6b1FZQWNaf4jFdT/5+q0Wii5w==",
        {"dist/esm/index.js": "pmtiles.mjs"},
    ),
    Package(
        "fflate", "0.8.2",
        "sha512-cPJU47OaAoCbg0pBvzsgpTPhmhqI5eJjh/JIu8tPj5q+T7iLvW/JAYUqmE7KOB4R1ZyEhzBaIQpQpardBF5z8A==",
        {"esm/browser.js": "fflate.mjs"},
    ),
)  # fmt: skip
#: Module name in the files -> path here.
MODULES = {"preact": "preact.mjs", "htm": "htm.mjs", "terra-draw": "terra-draw.mjs", "fflate": "fflate.mjs"}


def fetched(package: Package, folder: Path) -> Path:
    """Returns the package's archive. Exits if its integrity differs."""
    command = ["npm", "pack", "--silent", f"{package.name}@{package.version}", "--pack-destination", str(folder)]
    name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
    digest = base64.b64encode(hashlib.sha512((folder / name).read_bytes()).digest()).decode()
    if f"sha512-{digest}" != package.integrity:
        sys.exit(f"{package.name} {package.version} is not what it was: sha512-{digest}")
    return folder / name


def readable(text: str) -> str:
    """Returns a file with its module names as paths."""
    text = re.sub(r"\n?(//# sourceMappingURL=\S+|/\*# sourceMappingURL=\S+ \*/)\s*", "\n", text)
    for bare, name in MODULES.items():
        text = re.sub(rf"""(\bfrom ?|\bimport ?)(["']){bare}\2""", rf"\1\2./{name}\2", text)
    return text.rstrip() + "\n"


def kept(package: Package, archive: Path) -> dict[str, object]:
    """Writes the files of a package. Returns their record for vendor.json."""
    digests: dict[str, str] = {}
    with tarfile.open(archive) as opened:

        def read(path: str) -> str:
            file = opened.extractfile(f"package/{path}")
            assert file is not None, path
            return file.read().decode()

        about = json.loads(read("package.json"))
        for path, name in package.files.items():
            data = readable(read(path)).encode()
            (OUT / name).write_bytes(data)
            digests[name] = hashlib.sha256(data).hexdigest()
        licence = next((name for name in opened.getnames() if "/LICENSE" in name and name.count("/") == 1), None)
        words = read(licence.partition("/")[2]) if licence else f"{about['license']}, by {about['author']}\n"
    (OUT / f"{package.name}.LICENSE.txt").write_text(words, encoding="utf-8")
    return {
        "name": package.name, "version": package.version, "licence": about["license"], "integrity": package.integrity,
        "sha256": digests,
    }  # fmt: skip


def main() -> int:
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.iterdir():
        old.unlink()
    with tempfile.TemporaryDirectory() as folder:
        packages = [kept(package, fetched(package, Path(folder))) for package in PACKAGES]
    (OUT / "vendor.json").write_text(json.dumps(packages, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
