"""Uploads and downloads of photos over the API."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
from typing import Any

from tests.acceptance.conftest import Served

FACTS = {"source": "her mother", "taken": "2026-08", "rights": "consent of both parents", "alt": {"es": "Lucía sonríe"}}


def hand_in(served: Served, photo: bytes, filename: str = "lucia.jpg") -> tuple[int, Any]:
    """As a form."""
    body = io.BytesIO()
    for name, content in (("photo", photo), ("facts", json.dumps(FACTS).encode())):
        head = f'--edge\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n\r\n'
        body.write(head.encode() + content + b"\r\n")
    body.write(b"--edge--\r\n")
    headers = {"Authorization": f"Bearer {served.key}", "Content-Type": "multipart/form-data; boundary=edge"}
    request = urllib.request.Request(f"{served.url}/v1/media", body.getvalue(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.loads(refusal.read())


def look(served: Served, media: str, key: str = "") -> tuple[int, bytes]:
    """As a phone that loads the picture of a push."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(f"{served.url}/m/{media}?size=push", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, b""
