"""A fused network as a model directory: `polyface analyze --model DIR` runs it, its card says what it is."""

import json
from dataclasses import replace
from pathlib import Path

from polyface.files import sha256_of_lines, write_atomically
from polyface.inference.card import Data, entry_of_crop
from polyface.models.export import new_card, write_model
from polyface.models.fusion import FusedNetwork
from polyface.papers.fusion_config import digest
from polyface.papers.fusion_controls import fused
from polyface.papers.fusion_pictures import IDENTITY, SplitName
from polyface.papers.fusion_runs import Bench
from polyface.tasks import TASKS, identity
from polyface.tasks.kinds import Embedding, Task


def write(bench: Bench, split: SplitName, folder: Path) -> Path:
    """The base networks of a split (its first fold) and a head on all their features for each task. Who it is has no head here, since a user's pictures show other
    people: its answer is the joined features, as a vector. Found done where there is one of these networks and heads."""
    chosen = bench.splits(split)[0]
    made_with = digest([bench.own(chosen, task).made_with for task in bench.pictures.tasks], bench.config.heads, bench.config.seed)
    said = folder.with_name(f"{folder.name}.json")
    if (folder / "card.json").exists() and said.exists() and json.loads(said.read_text())["made_with"] == made_with:
        return folder
    whole = fused(bench, chosen)
    length = sum(bench.config.length(task, IDENTITY) for task in bench.pictures.tasks)
    asked = [task for task in whole.tasks if task.name != IDENTITY]
    answered = [Embedding(identity.name, identity.question, length), *(replace(task, name=_name(task)) for task in asked)]
    model = FusedNetwork(answered, dict(whole.networks), {_name(task): whole.heads[task.name] for task in asked}).eval()  # type: ignore[arg-type, misc]
    pictures = bench.pictures
    data = Data(
        name=pictures.name, images=len(pictures.keys), subjects=len(pictures.names), split=f"{chosen.label}, 70 % of the pictures" if split == "image" else chosen.label,
        terms=pictures.terms, sha256=sha256_of_lines(pictures.keys),
    )  # fmt: skip
    limits = (
        "a rebuilt experiment (Li and Zhu 2016, arXiv 1610.04322), not a product: small networks that saw few people",
        f"trained on {len(pictures.names)} people; accuracies on pictures of the same people say little about strangers",
    )
    notes = {IDENTITY: f"the features of {len(pictures.tasks)} networks joined, {length} numbers; trained to name {len(pictures.names)} people, not to compare strangers"}
    card = new_card(f"fusion-{pictures.name}", model, entry_of_crop(bench.config.crop), [data], pictures.drawings, limits=limits, task_notes=notes)  # type: ignore[arg-type]
    write_model(model, card, folder)  # type: ignore[arg-type]
    write_atomically(said, json.dumps({"made_with": made_with}) + "\n")
    return folder


def _name(task: Task) -> str:
    """Groups of ages are not to be taken for ages: a task that is of another kind than ours of its name gets a name of its own."""
    ours = next((each for each in TASKS if each.name == task.name), task)
    return task.name if isinstance(task, type(ours)) else f"{task.name}_group"
