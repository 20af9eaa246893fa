"""`polyface score ...`"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from polyface.cli.options import Json, names_in
from polyface.errors import RequestError

if TYPE_CHECKING:
    from polyface.evaluation.score import Scored

app = App(name="score", help="The field's protocols, on arrays of any model: a .npz, .npy, .csv or .parquet with `names` and what each command says.", sort_key=5)

Predictions = Annotated[Path, Parameter(help="The model's answers: `names` and `values`.")]
Plot = Annotated[Path | None, Parameter(help="Draw the curves here, a .png, with their numbers as .csv beside it.")]
Targets = Annotated[Path, Parameter(help="The truth: `names` and `values`; where known `subjects`, for intervals by person, and `groups`, to be scored each.")]


@app.command(name="verification", sort_key=1)
def score_verification(
    *,
    embeddings: Annotated[Path, Parameter(help="`names` [N] and `embeddings` [N, d]; where known `subjects` [N].")],
    pairs: Annotated[Path, Parameter(help="pairs.txt, insightface's .bin (names are 0, 1, ...), CFP's Protocol/Split/FP, or rows `name name 1`.")],
    json: Json = None,
    plot: Plot = None,
) -> None:
    """LFW, CFP, AgeDB-30, CALFW, CPLFW: ten-fold accuracy in both conventions, AUC, EER, TAR at FAR 1e-1 to 1e-6, d-prime.

    Embeddings are compared as they are given: add those of a picture and of its mirror image before, where the protocol says so.
    """
    from polyface.evaluation import score

    _score(lambda: score.verification(embeddings, pairs), (embeddings, pairs), json, plot)


@app.command(name="landmarks", sort_key=2)
def score_landmarks(
    *,
    predictions: Predictions,
    targets: Targets,
    normaliser: Annotated[str | None, Parameter(help="inter-ocular, inter-pupil, box or diagonal, as a,b. All that the arrays allow where nothing is said.")] = None,
    alpha: Annotated[str, Parameter(help="Errors above which a face counts as failed, as a,b.", show_default=True)] = "0.08,0.1",
    json: Json = None,
    plot: Plot = None,
) -> None:
    """300-W, WFLW, COFW, MTFL: mean error over the size of the face, failure rate and AUC, by `values` [N, P, 2] in pixels.

    Targets hold `boxes` [N, 4] where a normaliser needs them, and NaN for a point without a label; predictions `missed` [N], 1 for a face that was not found.
    """
    from polyface.evaluation import score

    _score(lambda: score.landmarks(predictions, targets, names_in(normaliser), _numbers(alpha)), (predictions, targets), json, plot)


@app.command(name="parsing", sort_key=3)
def score_parsing(
    *,
    predictions: Annotated[Path, Parameter(help="A folder, .zip or .tar of PNGs of class numbers, or a .npz with an array for each picture.")],
    targets: Annotated[Path, Parameter(help="The truth, likewise; 255 is not scored. A .npz may hold `names`, with `subjects` and `groups`.")],
    benchmark: Annotated[str | None, Parameter(help="helen, lapa or celebamask-hq: what the numbers mean. The array `classes` of a .npz where nothing is said.")] = None,
    json: Json = None,
) -> None:
    """Helen, LaPa, CelebAMask-HQ: F1 and IoU of each part over the pixels of all pictures, and their means, each named by its classes."""
    from polyface.evaluation import score

    _score(lambda: score.parsing(predictions, targets, benchmark), (predictions, targets), json)


@app.command(name="attributes", sort_key=4)
def score_attributes(
    *,
    predictions: Predictions,
    targets: Targets,
    attributes: Annotated[str | None, Parameter(help="Only these, as a,b.")] = None,
    json: Json = None,
) -> None:
    """CelebA, LFWA: accuracy and balanced accuracy of each attribute, and their means, by `values` [N, A] with `classes` [A].

    Predictions are probabilities; targets 1 yes, 0 no, -1 unknown.
    """
    from polyface.evaluation import score

    _score(lambda: score.attributes(predictions, targets, names_in(attributes)), (predictions, targets), json)


@app.command(name="classification", sort_key=5)
def score_classification(*, predictions: Predictions, targets: Targets, json: Json = None) -> None:
    """Expression and other classes: accuracy, mean recall and macro-F1, by `values` [N], names of classes or numbers in an array `classes`."""
    from polyface.evaluation import score

    _score(lambda: score.classification(predictions, targets), (predictions, targets), json)


@app.command(name="age", sort_key=6)
def score_age(
    *,
    predictions: Predictions,
    targets: Targets,
    within: Annotated[str, Parameter(help="Years k of CS(k), as a,b.", show_default=True)] = "5",
    json: Json = None,
    plot: Plot = None,
) -> None:
    """Ages: mean absolute error and CS(k), by `values` [N] in years; the epsilon error of apparent age where targets hold `sigmas` [N]."""
    from polyface.evaluation import score

    _score(lambda: score.age(predictions, targets, _numbers(within)), (predictions, targets), json, plot)


@app.command(name="pose", sort_key=7)
def score_pose(
    *,
    predictions: Predictions,
    targets: Targets,
    limit: Annotated[float | None, Parameter(help="Leave out faces of which a true angle is beyond so many degrees; most papers use 99 on AFLW2000.")] = None,
    json: Json = None,
    plot: Plot = None,
) -> None:
    """Head pose: mean absolute error of each angle on the circle, by `values` [N, 3] in degrees: yaw, pitch, roll, or what `classes` names."""
    from polyface.evaluation import score

    _score(lambda: score.pose(predictions, targets, limit), (predictions, targets), json, plot)


@app.command(name="megaface", sort_key=8)
def score_megaface(
    *,
    probes: Annotated[Path | None, Parameter(help="`names`, `identities` and `embeddings`; with --devkit a folder of its features, or `names` and `embeddings`.")] = None,
    distractors: Annotated[Path | None, Parameter(help="`names` and `embeddings`, a .npy of embeddings alone, or a folder of the devkit's features.")] = None,
    devkit: Annotated[Path | None, Parameter(help="The folder of templatelists. Features are in its folders facescrub and megaface where nothing else is said.")] = None,
    sizes: Annotated[str | None, Parameter(help="Numbers of distractors, as 1000,1000000: the first so many, or the devkit's lists. All there are by default.")] = None,
    probe_set: Annotated[str, Parameter(help="Which of the devkit's lists the probes are: facescrub, facescrub_uncropped, fgnet.", show_default=True)] = "facescrub",
    probe_noises: Annotated[
        Path | None,
        Parameter(help="insightface's facescrub_noises.txt: these are left out. Its own script puts the mean of the person's others there, and finds more mates."),
    ] = None,
    distractor_noises: Annotated[Path | None, Parameter(help="insightface's megaface_noises.txt: these are left out.")] = None,
    results: Annotated[Path | None, Parameter(help="Write the devkit's files of results into this folder, one for each size: `cmc`, `roc`.")] = None,
    cache: Annotated[Path | None, Parameter(help="Keep features and codes in this folder for the next time, and how far a search has come.")] = None,
    json: Json = None,
    plot: Plot = None,
) -> None:
    """MegaFace: rank 1 and 10 among 10 to 1,000,000 distractors, TAR at FAR 1e-6, every pair compared exactly and a tie lost.

    Embeddings are brought to unit length. With --cache, a search that was broken off goes on where it was. "cleaned" or "uncleaned" is part of the protocol's name
    in every output.
    """
    from polyface import files, terminal
    from polyface.evaluation.score_megaface import megaface

    def scored() -> "Scored":
        numbers = None if sizes is None else _whole_numbers(sizes)
        with terminal.progress("megaface") as report:
            return megaface(probes, distractors, devkit, numbers, probe_set, probe_noises, distractor_noises, results, cache, report)

    probe_list = devkit and devkit / "templatelists" / f"{probe_set}_features_list.json"
    if results is not None:
        files.require_writable(results / "cmc.json")
    seconds = _score(scored, (probes, distractors, devkit, probe_list, probe_noises, distractor_noises), json, plot, titled=True).seconds
    terminal.say("seconds: " + ", ".join(f"{part} {taken:.1f}" for part, taken in seconds.items()))


@app.command(name="ijb", sort_key=9)
def score_ijb(
    *,
    embeddings: Annotated[Path, Parameter(help="`names` [N], the pictures as in ..._face_tid_mid.txt, and `embeddings` [N, d]; or a .npy in that file's order.")],
    meta: Annotated[Path, Parameter(help="The folder of one benchmark's lists, or the folder that holds its `meta`.")],
    unit: Annotated[bool, Parameter(help="Bring each embedding to length 1 before it is pooled (insightface's N0).")] = False,
    detector_scores: Annotated[bool, Parameter(help="Multiply each embedding by the score of ..._name_5pts_score.txt (insightface's D1).")] = False,
    json: Json = None,
    plot: Plot = None,
) -> None:
    """IJB-B, IJB-C: templates pooled by media; 1:1 TAR at FAR 1e-1 to 1e-6; 1:N rank 1, 5, 10, and TPIR and DIR at FPIR 0.1 and 0.01, for each gallery and their mean.

    Add the embeddings of a picture and of its mirror image before, where the protocol says so (insightface's F2).
    """
    from polyface.evaluation import score_templates
    from polyface.evaluation.template_lists import lists_of

    _score(lambda: score_templates.ijb(embeddings, meta, unit, detector_scores), (embeddings, meta, *lists_of(meta)), json, plot)


@app.command(name="tinyface", sort_key=10)
def score_tinyface(
    *,
    embeddings: Annotated[Path, Parameter(help="`names` [N] as Probe/12_1.jpg, Gallery_Match/12_2.jpg, Gallery_Distractor/x.jpg, and `embeddings` [N, d].")],
    meta: Annotated[Path | None, Parameter(help="The folder of the set's two .mat lists, to hold the names to them.")] = None,
    json: Json = None,
    plot: Plot = None,
) -> None:
    """TinyFace: rank 1, 5, 20 and mean average precision of probes among their mates and all distractors; a tie is no hit."""
    from polyface.evaluation import score_tinyface

    _score(lambda: score_tinyface.tinyface(embeddings, meta), (embeddings, meta), json, plot)


def _score(command: Callable[[], "Scored"], inputs: Iterable[Path | None], json: Path | None, plot: Path | None = None, titled: bool = False) -> "Scored":
    """What a command gives, shown. Raises RequestError before it begins, where its report or plot cannot be written, or would be over one of the inputs."""
    from polyface.evaluation.plots import require_outputs

    require_outputs(json, plot, inputs)
    scored = command()
    show(scored, json, plot, scored.result.protocol if titled else "")
    return scored


def show(scored: Any, json: Path | None, plot: Path | None = None, title: str = "") -> None:
    """A table on stdout, under its title, after the report and the plot where they are asked for."""
    from polyface import files, terminal

    if json is not None:
        files.write_atomically(json, scored.to_json())
    if plot is not None:
        from polyface.evaluation.plots import write_plot

        if not write_plot(scored.result, plot):
            terminal.say(f"{plot} is not written: {scored.result.protocol} has nothing to plot here")
    if title:
        terminal.tell(title)
    terminal.table(scored.result.rows())
    terminal.tell("; ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in scored.result.counts.items() if ":" not in what))


def _numbers(listed: str) -> list[float]:
    """0.08,0.1 -> [0.08, 0.1]."""
    try:
        return [float(word) for word in names_in(listed) or ()]
    except ValueError:
        raise RequestError(f"{listed!r} is no list of numbers") from None


def _whole_numbers(listed: str) -> list[int]:
    for number in (numbers := _numbers(listed)):
        if not number.is_integer():
            raise RequestError(f"{number:g} is no whole number")
    return [int(number) for number in numbers]
