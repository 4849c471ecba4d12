#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/images/formats: small pictures in every format and pixel layout that the library reads.

formats.json holds what Pillow makes of each: size and SHA-256 of the RGB bytes (EXIF orientation applied, alpha
dropped) and of the picture over white. JPEG decoders may differ by a level, so those come with a PNG of the
decoded pixels instead. Needs Debian's python3-pil (9.4). Run from the repository root.
"""
import hashlib
import io
import json
import pathlib
import struct
import zlib

from PIL import Image, ImageOps

OUT = pathlib.Path("tests/data/images/formats")
W, H = 21, 13


def picture(mode="RGB"):
    image = Image.new("RGBA", (W, H))
    image.putdata([((x * 12) % 256, (y * 19) % 256, (x * y * 7) % 256, (x * 5 + y * 17) % 256)
                   for y in range(H) for x in range(W)])
    return image.convert(mode)


def save(name, image, **options):
    image.save(OUT / name, **options)


# --- PNG layouts that Pillow does not write

ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(tag, data):
    return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))


def pack(samples, bits):
    if bits == 16:
        return b"".join(struct.pack(">H", s) for s in samples)
    text = "".join(format(s, f"0{bits}b") for s in samples)
    text += "0" * (-len(text) % 8)
    return bytes(int(text[i:i + 8], 2) for i in range(0, len(text), 8))


def png(name, bits, color, sample, extra=b"", interlaced=False):
    """sample(x, y) gives the samples of one pixel."""
    raw = b""
    for x0, y0, dx, dy in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        for y in range(y0, H, dy):
            row = [s for x in range(x0, W, dx) for s in sample(x, y)]
            raw += b"\0" + pack(row, bits) if row else b""
    header = struct.pack(">IIBBBBB", W, H, bits, color, 0, 0, int(interlaced))
    (OUT / name).write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra +
                             chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


def make_png():
    colors = bytes(v for i in range(16) for v in (i * 16, 255 - i * 9, i * i % 256))
    palette = chunk(b"PLTE", colors)
    for bits in (1, 2, 4):
        top = (1 << bits) - 1
        png(f"grey{bits}.png", bits, 0, lambda x, y: [(x + y) & top])
        png(f"palette{bits}.png", bits, 3, lambda x, y: [(x * y) & top], chunk(b"PLTE", colors[:3 << bits]))
    png("palette_trns.png", 4, 3, lambda x, y: [(x + y) & 15], palette + chunk(b"tRNS", bytes([0, 128, 255, 30])))
    png("grey8_trns.png", 8, 0, lambda x, y: [x * 10], chunk(b"tRNS", struct.pack(">H", 50)))
    png("grey16.png", 16, 0, lambda x, y: [(x * 16 + y * 3) * (1 if y < 8 else 100)])
    png("grey16_interlaced.png", 16, 0, lambda x, y: [x * 13 + y], interlaced=True)
    png("grey_alpha16.png", 16, 4, lambda x, y: [x * 3001, y * 5003])
    png("rgb16.png", 16, 2, lambda x, y: [x * 3001, y * 5003, (x * y) * 199])
    png("rgba16.png", 16, 6, lambda x, y: [x * 3001, y * 5003, (x * y) * 199, 65535 - x * 3000])
    png("rgb8_interlaced.png", 8, 2, lambda x, y: [x * 12, y * 19, x * y], interlaced=True)
    png("palette4_interlaced.png", 4, 3, lambda x, y: [(x * 3 + y) & 15], palette, interlaced=True)
    save("grey_alpha8.png", picture("LA"))
    save("rgba8.png", picture("RGBA"))
    exif = Image.Exif()
    exif[0x0112] = 8
    save("exif8.png", picture(), exif=exif)


def make_jpeg():
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x010F] = "maker"
        exif[0x0112] = orientation
        save(f"exif{orientation}.jpg", picture(), quality=95, subsampling=0, exif=exif)
    save("grey.jpg", picture("L"))
    save("cmyk.jpg", picture().convert("CMYK"), quality=95)
    save("progressive_420.jpg", picture(), progressive=True, subsampling=2)
    save("restart.jpg", picture(), quality=60, subsampling=1)


def make_webp():
    save("lossy.webp", picture(), quality=80)
    save("lossless.webp", picture(), lossless=True)
    save("lossy_alpha.webp", picture("RGBA"), quality=80)
    save("lossless_alpha.webp", picture("RGBA"), lossless=True, exact=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    save("exif6.webp", picture(), lossless=True, exif=exif)
    frames = [picture("RGBA").rotate(a) for a in (0, 90, 180)]
    save("animated.webp", frames[0], save_all=True, append_images=frames[1:], lossless=True, duration=100)


# --- GIF with a screen, a placed frame and a palette of the frame's own: codes of 9 bits, the table cleared often

def gif_image(x0, y0, w, h, indices, palette, interlaced):
    bits = []
    for i, index in enumerate(indices):
        if i % 100 == 0:
            bits.append(256)
        bits.append(index)
    bits.append(257)
    text = "".join(format(code, "09b")[::-1] for code in bits)
    text += "0" * (-len(text) % 8)
    data = bytes(int(text[i:i + 8][::-1], 2) for i in range(0, len(text), 8))
    flags = (0x40 if interlaced else 0) | (0x80 | 3 if palette else 0)
    blocks = b"".join(bytes([len(data[i:i + 255])]) + data[i:i + 255] for i in range(0, len(data), 255))
    return b"," + struct.pack("<4HB", x0, y0, w, h, flags) + palette + b"\x08" + blocks + b"\0"


def gif(name, screen, frames, palette=b"", transparent=None):
    control = b""
    if transparent is not None:
        control = b"!\xf9\x04" + struct.pack("<BHB", 1, 10, transparent) + b"\0"
    head = b"GIF89a" + struct.pack("<2H3B", *screen, 0x80 | 3 if palette else 0, 2, 0) + palette
    (OUT / name).write_bytes(head + b"!\xfe\x05hello\0" + b"".join(control + f for f in frames) + b";")


def make_gif():
    one = bytes(v for i in range(16) for v in (i * 16, 255 - i * 9, i * i % 256))
    two = bytes(v for i in range(16) for v in (255 - i * 3, i * 7, i * 13))
    full = [(x + y) % 16 for y in range(H) for x in range(W)]
    small = [(x * y) % 16 for y in range(5) for x in range(7)]
    gif("plain.gif", (W, H), [gif_image(0, 0, W, H, full, b"", False)], one)
    gif("interlaced.gif", (W, H), [gif_image(0, 0, W, H, full, b"", True)], one)
    gif("local_palette_offset.gif", (W, H), [gif_image(3, 2, 7, 5, small, two, False)], one)
    gif("transparent_offset.gif", (W, H), [gif_image(3, 2, 7, 5, small, two, False)], one, transparent=4)
    gif("leaves_screen.gif", (10, 4), [gif_image(6, 2, 7, 5, small, b"", False)], one)
    gif("no_palette.gif", (W, H), [gif_image(0, 0, W, H, full, b"", False)])
    gif("animated.gif", (W, H), [gif_image(0, 0, W, H, full, b"", False), gif_image(1, 1, 7, 5, small, two, False)],
        one)


# --- BMP kinds that Pillow does not write

def bmp(name, bits, rows, compression=0, palette=b"", masks=b"", height=H, info=40):
    if info == 12:
        header = struct.pack("<I4H", 12, W, H, 1, bits)
    else:
        header = struct.pack("<IiiHHIIiiII", info, W, height, 1, bits, compression, len(rows), 0, 0,
                             len(palette) // 4, 0)
        header += masks.ljust(info - 40, b"\0") if info > 40 else b""
    after = masks if info == 40 else b""
    at = 14 + len(header) + len(after) + len(palette)
    (OUT / name).write_bytes(b"BM" + struct.pack("<IHHI", at + len(rows), 0, 0, at) + header + after + palette + rows)


def raw_rows(pixel):
    out = b""
    for y in reversed(range(H)):
        row = b"".join(pixel(x, y) for x in range(W))
        out += row + b"\0" * (-len(row) % 4)
    return out


def make_bmp():
    save("rgb24.bmp", picture())
    save("grey8.bmp", picture("L"))
    save("palette8.bmp", picture().quantize(40))
    save("mono1.bmp", picture("1"))
    save("rgba32.bmp", picture("RGBA"))
    quads = b"".join(struct.pack("4B", i * i % 256, 255 - i * 9, i * 16, 0) for i in range(16))
    triples = b"".join(struct.pack("3B", i * i % 256, 255 - i * 9, i * 16) for i in range(16))

    def nibble_rows():
        out = b""
        for y in reversed(range(H)):
            row = pack([(x + y) & 15 for x in range(W)], 4)
            out += row + b"\0" * (-len(row) % 4)
        return out

    bmp("palette4.bmp", 4, nibble_rows(), palette=quads)
    bmp("os2_palette4.bmp", 4, nibble_rows(), palette=triples, info=12)
    bmp("top_down.bmp", 24, raw_rows(lambda x, y: bytes([x * 12, y * 19, x * y])), height=-H)
    word = lambda x, y: struct.pack("<H", (x * 1500 + y * 4001) & 0xFFFF)
    bmp("rgb555.bmp", 16, raw_rows(word))
    bmp("rgb565.bmp", 16, raw_rows(word), 3, masks=struct.pack("<3I", 0xF800, 0x7E0, 0x1F))
    quad = lambda x, y: struct.pack("<I", (x * 90000001 + y * 7000003) & 0xFFFFFFFF)
    bmp("rgbx32.bmp", 32, raw_rows(quad))
    bmp("masks32.bmp", 32, raw_rows(quad), 3, masks=struct.pack("<4I", 0xFF, 0xFF00, 0xFF0000, 0xFF000000), info=108)
    # Run lengths: a run, a literal with an odd count, a jump, rows left early, an end mark.
    runs = b"".join(bytes([W - 8, y, 0, 5, 1, 2, 3, 4, 5, 0, 3, 9, 0, 0]) for y in range(H - 1))
    bmp("rle8.bmp", 8, runs + bytes([W, 7, 0, 1]), 1, palette=quads)
    runs = b"".join(bytes([W - 4, 0x10 + y, 0, 4, 0x12, 0x34, 0, 0]) for y in range(H - 1))
    bmp("rle4.bmp", 4, runs + bytes([W, 0x7C, 0, 1]), 2, palette=quads)


def sha256(image):
    return hashlib.sha256(image.tobytes()).hexdigest()


def over_white(image):
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, (255, 255, 255))
    white.paste(image, mask=image.split()[3])
    return white


def describe(path):
    image = ImageOps.exif_transpose(Image.open(path))
    rgb = image.convert("RGB")
    entry = {"file": path.name, "size_wh": list(rgb.size)}
    if path.suffix == ".jpg":
        decoded = path.with_suffix(".decoded.png")
        rgb.save(decoded, optimize=True)
        entry["decoded_png"] = decoded.name
        return entry
    entry["rgb_sha256"] = sha256(rgb)
    if image.mode in ("RGBA", "LA") or "transparency" in image.info:
        entry["over_white_sha256"] = sha256(over_white(image))
    return entry


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.iterdir():
        old.unlink()
    for make in (make_png, make_jpeg, make_webp, make_gif, make_bmp):
        make()
    entries = [describe(path) for path in sorted(OUT.iterdir())]
    (OUT / "formats.json").write_text(json.dumps(entries, indent=1) + "\n")


if __name__ == "__main__":
    main()
