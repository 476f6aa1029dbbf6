"""Damaged and hostile PNG and JPEG files: a score or a row that says why not, whatever they are.

The verdict is the server's. A client refuses none that the server scores, and no file costs another one
its score.
"""

import contextlib
import csv
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from lcma_tf.serving.client import retry, score
from lcma_tf.serving.client.checks import RequestError
from lcma_tf.serving.client.image_files import check_encoded
from lcma_tf.serving.runtime.cpp_session import Code, CppSessionError
from saved_flows import opened_flow
from served_cases import encode_file
from serving_stand_in import ServingStandIn
from testing import random_images

SHAPE = (8, 8, 3)
IMAGES = random_images(8, SHAPE)
PNG, JPEG = encode_file(IMAGES[0]), encode_file(IMAGES[0], "JPEG")
BASES = [
    PNG,
    JPEG,
    encode_file(IMAGES[1], "JPEG", progressive=True),
    encode_file(IMAGES[2][..., :1]),
    encode_file(IMAGES[3], "PNG", pnginfo=None, optimize=True),
]


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    with opened_flow(SHAPE, tmp_path_factory.mktemp("export")) as session:
        yield session


@pytest.fixture
def score_folder(session, tmp_path, monkeypatch):
    """Runs the command on files by name; returns its exit code and its rows by name."""
    monkeypatch.setattr(retry.Retries, "_wait", lambda self, number: 0.0)

    def run(files):
        folder = tmp_path / "images"
        folder.mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)
        table = tmp_path / "scores.csv"
        with ServingStandIn(session) as stand_in:
            server = [f"--address={stand_in.rest_address}", "--model=flow"]
            code = score.main([*server, "score", str(folder), f"--csv={table}"])
        with open(table, newline="") as file:
            return code, {row["file"]: row for row in csv.DictReader(file)}

    return run


def part(kind, content, checksum=None):
    """A part of a PNG."""
    right = zlib.crc32(kind + content)
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", right if checksum is None else checksum)
    )


def before_end(*parts):
    return PNG[:-12] + b"".join(parts) + PNG[-12:]


def behind_header(*parts):
    return PNG[:33] + b"".join(parts) + PNG[33:]


def second_frame(side):
    """A JPEG with a frame of 8 x 8 pixels, then one that claims `side` x `side`."""
    at = JPEG.find(b"\xff\xc0")
    (length,) = struct.unpack_from(">H", JPEG, at + 2)
    frame = JPEG[at : at + 2 + length]
    claimed = frame[:5] + struct.pack(">HH", side, side) + frame[9:]
    return JPEG[: at + len(frame)] + claimed + JPEG[at + len(frame) :]


LARGE_HEADER = part(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
BOMB = zlib.compress(bytes(200 * 2**20), 9)  # 200 MiB in 200 kB.
HOSTILE = {
    "a second frame of 60,000 x 60,000": second_frame(60_000),
    "a second header of 60,000 x 60,000": behind_header(LARGE_HEADER),
    "a second header at the end": before_end(LARGE_HEADER),
    "a short colour profile behind the pixels": before_end(part(b"iCCP", b"")),
    "a colour profile of one byte": behind_header(part(b"iCCP", b"a")),
    "a colour profile that unfolds": behind_header(part(b"iCCP", b"a\0\0" + BOMB)),
    "a text that unfolds": behind_header(part(b"zTXt", b"a\0\0" + BOMB)),
    "an international text that unfolds": behind_header(part(b"iTXt", b"a\0\1\0\0\0" + BOMB)),
    "pixels that unfold": PNG[:33] + part(b"IDAT", BOMB) + PNG[-12:],
    "no pixels": PNG[:33] + PNG[-12:],
    "an empty part of pixels": PNG[:33] + part(b"IDAT", b"") + PNG[-12:],
    "a palette of no colours": behind_header(part(b"PLTE", b"")),
    "a transparency of no bytes": behind_header(part(b"tRNS", b"")),
    "an animation": behind_header(part(b"acTL", struct.pack(">II", 2**31 - 1, 0))),
    "an animation of no bytes": behind_header(part(b"acTL", b"")),
    "EXIF of no bytes": before_end(part(b"eXIf", b"")),
    "a part of 2**31 - 1 bytes": PNG[:33] + struct.pack(">I", 2**31 - 1) + b"IDAT" + PNG[41:],
    "a part with a wrong checksum": before_end(part(b"tEXt", b"a\0b", checksum=7)),
    "no end": PNG[:-12],
    "a quarter of the end": PNG[:-9],
    "a JPEG without its end": JPEG[:-2],
    "a JPEG of half its bytes": JPEG[: len(JPEG) // 2],
    "a JPEG of other sides": encode_file(random_images(1, (8, 16, 3))[0], "JPEG"),
    "a JPEG of ink": b"",
    "an EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n",
    "nothing": b"",
    "a signature alone": PNG[:8],
    "a JPEG's first bytes": JPEG[:3],
}
ink = io.BytesIO()
Image.new("CMYK", SHAPE[:2]).save(ink, "JPEG")
HOSTILE["a JPEG of ink"] = ink.getvalue()
for kind in ("GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "ICO", "EPS"):
    HOSTILE[f"a {kind}"] = encode_file(IMAGES[0], kind)


def verdict(session, data):
    """The server's score of a file by itself; None if it refuses it."""
    try:
        answer = session.run("log_prob_encoded", {"image_bytes": np.array([data], object)})
    except CppSessionError as error:
        assert error.code == Code.INVALID_ARGUMENT, error
        return None
    return answer["log_prob"][0]


def refused_by_client(data):
    with contextlib.suppress(RequestError):
        check_encoded(data, SHAPE)
        return False
    return True


def mutant(rng):
    """A file of a few changes: bytes, bits, cuts, doubled stretches, parts put in between."""
    data = bytearray(BASES[rng.integers(len(BASES))])
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(data) + 1))
        match rng.integers(7):
            case 0 if at < len(data):
                data[at] = rng.integers(256)
            case 1 if at < len(data):
                data[at] ^= 1 << rng.integers(8)
            case 2 if rng.random() < 0.5:
                del data[at:]
            case 3:
                del data[at : at + int(rng.integers(1, 20))]
            case 4:
                data[at:at] = data[at : at + int(rng.integers(1, 60))]
            case 5:
                data[at:at] = rng.bytes(int(rng.integers(1, 20)))
            case 6:
                kinds = (b"IDAT", b"iCCP", b"tRNS", b"PLTE", b"IEND", b"tEXt", b"gAMA", b"zzZz")
                kind = kinds[rng.integers(len(kinds))]
                added = part(kind, rng.bytes(int(rng.integers(12))))
                place = (33, max(len(data) - 12, 0))[rng.integers(2)]
                data[place:place] = added
    return bytes(data)


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_refused_or_scored_and_the_client_agrees(session, what):
    before = verdict(session, PNG)
    found = verdict(session, HOSTILE[what])
    assert found is None or np.isfinite(found)
    if refused_by_client(HOSTILE[what]):
        assert found is None
    np.testing.assert_allclose(verdict(session, PNG), before, rtol=1e-6)


def test_hostile_files_end_no_job_and_cost_no_other_file_its_score(session, score_folder, capsys):
    good = {f"good {i}.png": encode_file(image) for i, image in enumerate(IMAGES)}
    hostile = {f"{what}.png": data for what, data in HOSTILE.items()}
    code, rows = score_folder({**good, **hostile})
    assert rows.keys() == {*good, *hostile}
    check_rows(session, {**good, **hostile}, rows)
    failed = sum(bool(row["error"]) for row in rows.values())
    assert code == 1 and 20 < failed <= len(hostile)
    assert f"error: {failed} of {len(rows)} files have no score\n" in capsys.readouterr().err


def check_rows(session, files, rows):
    """Each file's row is the server's verdict on it by itself."""
    for name, data in files.items():
        row, found = rows[name], verdict(session, data)
        assert (row["error"] == "") == (row["log_prob"] != "") == (found is not None), (name, row)
        if found is not None:
            np.testing.assert_allclose(np.float32(row["log_prob"]), found, rtol=1e-5)


def test_client_and_server_give_one_verdict_on_mutants(session, at_length):
    rng = np.random.default_rng(12)
    scored = 0
    for number in range(at_length(600, 30_000)):
        data = mutant(rng)
        found = verdict(session, data)
        assert found is None or not refused_by_client(data), (number, data)
        scored += found is not None
    assert scored > 60


def test_the_command_gives_the_servers_verdict_on_mutants(session, score_folder, at_length):
    rng = np.random.default_rng(13)
    files = {f"{number:05d}.png": mutant(rng) for number in range(at_length(120, 6_000))}
    code, rows = score_folder(files)
    assert code == 1 and list(rows) == list(files)
    check_rows(session, files, rows)
