"""A contact sheet: the people of a gallery, each with their faces, as one HTML file that opens anywhere."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from polyface import page
from polyface.errors import InputError
from polyface.images import geometry, read
from polyface.images.sources import source_of
from polyface.inference.gallery import Gallery, GalleryFace
from polyface.inference.people import People

SIDE, ROOM = 96, 1.4
"""The side of a face's picture in pixels, and how many times its box that shows."""
SHOWN, SHOWN_ALONE = 40, 200
"""Faces of one person, and people of a single face, that a sheet shows; it says how many more there are."""


def contact_sheet(people: People, gallery: Gallery) -> tuple[str, list[str]]:
    """The page, and why faces have no picture on it: of those, the files are gone, or changed."""
    groups = [(number, person.faces[:SHOWN], person) for number, person in enumerate(people.people, 1)]
    alone = [person.faces[0] for person in people.alone[:SHOWN_ALONE]]
    pictures, refused = _pictures([face for _, faces, _ in groups for face in faces] + alone, gallery)
    body = page.render(
        BODY,
        people=people,
        words=people.in_words(),
        groups=[(number, [_cell(face, pictures) for face in faces], person, len(person.faces) - len(faces)) for number, faces, person in groups],
        alone=[_cell(face, pictures) for face in alone],
        more_alone=len(people.alone) - len(alone),
        side=SIDE,
    )
    return page.page("People", body, STYLE), refused


def _cell(face: GalleryFace, pictures: Mapping[GalleryFace, str]) -> dict[str, object]:
    return {"image": face.image, "name": Path(face.image).name, "face": face.face, "picture": pictures.get(face, "")}


def _pictures(faces: list[GalleryFace], gallery: Gallery) -> tuple[dict[GalleryFace, str], list[str]]:
    """{face: data URI}; each photograph is opened once."""
    by_image: dict[str, list[GalleryFace]] = {}
    for face in faces:
        by_image.setdefault(face.image, []).append(face)
    found, refused, digests = {}, [], gallery.sha256_of(by_image.keys())
    for image, its_faces in by_image.items():
        try:
            content = source_of(image).read()
            if hashlib.sha256(content).digest() != digests[image]:
                raise InputError(f"{image}: another picture than the gallery's")
            pixels = read.decode(content, image)
        except InputError as error:
            refused.append(str(error))
            continue
        for face in its_faces:
            found[face] = page.picture(geometry.warp(pixels, geometry.to_square(face.box, SIDE, ROOM), (SIDE, SIDE)), quality=80)
    return found, refused


BODY = """\
{% macro sheet(cells) %}
<ul class="faces">
{% for cell in cells %}
<li title="{{ cell.image }}, face {{ cell.face }}"><figure>{% if cell.picture -%}
<img src="{{ cell.picture }}" width="{{ side }}" height="{{ side }}" alt="" loading="lazy">
{%- else %}<span class="gone">no picture</span>{% endif %}<figcaption>{{ cell.name }}{% if cell.face %}, face {{ cell.face }}{% endif %}</figcaption></figure></li>
{% endfor %}
</ul>
{% endmacro %}
<p>{{ words }}</p>
<p class="quiet">By the model <b>{{ people.model }}</b>. Nobody named anybody: a group is what the model takes for one person, and may hold several, or a part of one.
Identifying people who did not agree to it is not what this is for.</p>
<div class="people">
{% for number, cells, person, more in groups %}
<section>
<h2>Person {{ number }} <span>{{ "{:,}".format(person.faces|length) }} faces, likeness {{ "%.2f"|format(person.likeness) }}</span></h2>
{{ sheet(cells) }}
{% if more %}<p class="quiet">and {{ "{:,}".format(more) }} more</p>{% endif %}
</section>
{% endfor %}
</div>
{% if alone %}
<h2>Alone <span>{{ "{:,}".format(people.alone|length) }} faces that are like no other</span></h2>
{{ sheet(alone) }}
{% if more_alone %}<p class="quiet">and {{ "{:,}".format(more_alone) }} more</p>{% endif %}
{% endif %}
"""

STYLE = """\
.people { display: flex; flex-wrap: wrap; gap: 1.2rem 2rem; margin-top: 1.5rem; }
.people h2 { margin: 0; }
h2 span { font-size: .875rem; font-weight: 400; color: var(--quiet); margin-left: .5rem; }
.faces { list-style: none; padding: 0; max-width: none; display: flex; flex-wrap: wrap; gap: .35rem; }
.faces img, .gone { display: block; width: 96px; height: 96px; border-radius: .35rem; background: var(--shade); }
.gone { padding: .4rem; }
.faces figure { width: 96px; margin: 0; }
.gone, figcaption { font-size: .7rem; line-height: 1.25; color: var(--quiet); }
figcaption { margin-top: .15rem; }
"""
