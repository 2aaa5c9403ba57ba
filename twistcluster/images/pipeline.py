"""Pictures and what is done to them: what `cluster.images(…)` gives.

Owns: the chain of steps, options, and the five ways to its results: `run`, `table`, `gallery`, `save`, `serve`. Must not
know: how a job is opened (`run`), how pictures are made (`plan`, `work`), how they are shown.

A pipeline is a value: each method gives a new one, and nothing happens before results are asked for. The first of `run`,
`gallery`, `table` and `save` opens its job; the others use that one, where it has what they need.
"""

import functools
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Self

from twistcluster.client import views
from twistcluster.client.options import OPTIONS, JobOptions
from twistcluster.client.reading import Errors, check_errors
from twistcluster.client.servers import serve
from twistcluster.images.again import has_pictures, interrupted, made_before, opened_to_save, saved
from twistcluster.images.chain import Chain
from twistcluster.images.encoding import Encoding
from twistcluster.images.feed import Feed
from twistcluster.images.job import PictureJob
from twistcluster.images.names import Pattern
from twistcluster.images.plan import Plan
from twistcluster.images.recognition.recognizer import Recognizer
from twistcluster.images.recognizing import Asked, AskedTogether, Recognizing
from twistcluster.images.run import ClusterOfPictures, Start, start, with_bytes
from twistcluster.images.source import Item
from twistcluster.images.sources import Sources
from twistcluster.images.stamps import plan_stamp
from twistcluster.images.step import Step
from twistcluster.images.table import Table
from twistcluster.images.work import Pictures, Saving
from twistcluster.images.writing import Target, save_there

__all__ = ["Pipeline"]

LABEL_CHARACTERS: Final = 40


@dataclass(frozen=True)
class _Setting:
    """What holds for a pipeline beside its steps."""

    job: JobOptions = field(default_factory=JobOptions)
    errors: Errors = "raise"


class Pipeline(Chain):
    """Pictures, and what is done to them.

    Example:
        >>> small = cluster.images("photos/**/*.jpg").resize(512).autocontrast()      # doctest: +SKIP
        >>> small.save("out/", format="webp", quality=80)                             # doctest: +SKIP
        >>> small.gallery()                                                           # doctest: +SKIP
    """

    def __init__(
        self,
        cluster: ClusterOfPictures,
        sources: Sources,
        plan: Plan,
        recognizer: Recognizer | None = None,
        setting: _Setting | None = None,
    ) -> None:
        self._cluster = cluster
        self._sources = sources
        self._plan = plan
        self._recognizer = recognizer
        self._setting = setting or _Setting()
        self._job: PictureJob | None = None
        self._saving: PictureJob | None = None
        """The job of the last save on this side."""

    def __repr__(self) -> str:
        steps = [step.name for step in self._plan.steps] + ["recognize"] * (self._recognizer is not None)
        held = self._sources.held
        what = "pictures" if held is None else f"{held:,} picture{'' if held == 1 else 's'}"
        job = "" if self._job is None else f"; {self._job!r}"
        return f"<{what}: {', '.join(steps) or 'as they are'}{job}>"

    # ---- what is done ----------------------------------------------------------------------------------------------

    def then(self, *more: Step) -> Self:
        """With further steps, such as `twistcluster.images.steps.Resize(512)`."""
        if self._recognizer is not None:
            raise TypeError(
                f"recognize gives labels, no pictures: {more[0].name} can't follow; put it before recognize"
            )
        return self._with(plan=self._plan.then(*more))

    def recognize(
        self,
        model: Any,
        labels: Any = None,
        top: int | None = None,
        threshold: float | None = None,
        *,
        iou: float | None = None,
        size: Any = None,
        layout: str | None = None,
        normalize: Any = None,
        fit: str | None = None,
        decode: Callable[[Mapping[str, Any], tuple[int, int]], Any] | None = None,
    ) -> Self:
        """Ask a model what is in each picture: the result is a `Recognition`, labels and scores, and boxes if it finds things.

        Pictures go to the model in batches, and each slot loads it once.

        Args:
            model: The path or bytes of an ONNX model, or one that is shipped: `tc.models.digits`,
                `tc.models.digit_finder`, `tc.models.faces`.
            labels: Of its classes: the path of a text file with one a line, a list, or a dict by number.
            top: How many are told of a picture at most.
            threshold: The least score that is told.
            iou: Boxes of a class that overlap by more than this are one.
            size: Of its input, where the model leaves that open.
            layout: "NCHW" or "NHWC", where the model leaves that open.
            normalize: "0..1", "-1..1", "imagenet", "none", or (mean, std).
            fit: How a picture becomes the input's size: "stretch", "crop", "letterbox".
            decode: A function of the model's outputs, where they are of no kind that is known.
                See `Recognizer` for all of these.

        Raises:
            ModelRefused: It is no model, or none of pictures.
            ModelOutputUnknown: Its outputs need `decode`.

        Example:
            >>> photos.recognize("model.onnx", labels="labels.txt", top=5).table()    # doctest: +SKIP
        """
        if self._recognizer is not None:
            raise TypeError("these pictures are recognised already: call recognize once, on the pipeline before it")
        if self._plan.frames != "first":
            raise ValueError("recognize looks at one picture of each file: leave out frames='all'")
        if self._plan.steps and self._plan.steps[-1].name == "metadata":
            raise TypeError("metadata gives facts, no pictures: leave it out before recognize")
        recognizer = Recognizer(
            model,
            labels,
            top,
            threshold,
            iou=iou,
            size=size,
            layout=layout,
            normalize=normalize,
            fit=fit,
            decode=decode,
        )
        return self._with(recognizer=recognizer)

    def options(self, *, errors: Errors | None = None, **options: Any) -> Self:
        """What holds for its jobs.

        Args:
            errors: What becomes of pictures that failed, in results, tables and `save`: "raise" raises the first one's
                error, "return" puts errors in the results' places, "skip" leaves them out.
            options: As `Cluster.options` takes them: priority, resources, name, retries, time_limit, max_crashes.
        """
        if errors is not None:
            check_errors(errors)
        unknown = next((name for name in options if name not in OPTIONS), None)
        if unknown is not None:
            raise TypeError(f"there is no option {unknown!r}; there are errors, {', '.join(OPTIONS)}")
        job = JobOptions.of(**{**self._setting.job.changed(), **options})
        made = self._with(setting=_Setting(job, errors or self._setting.errors))
        if job == self._setting.job:
            # What is done with errors is done where results are read.
            made._job, made._saving = self._job, self._saving  # noqa: SLF001
        return made

    # ---- its results -----------------------------------------------------------------------------------------------

    @property
    def job(self) -> PictureJob | None:
        """The job that was opened last; None before anything was asked for."""
        return self._job

    def run(self) -> PictureJob:
        """Open a job, anew each time, and return it at once."""
        return self._start(self._work())

    def results(self, errors: Errors | None = None) -> list[Any]:
        """All results in order, waiting for them: PIL images, or what the last step gives."""
        __tracebackhide__ = True
        chosen = errors or self._setting.errors
        return self._suiting(errors=chosen).results(chosen)

    def __iter__(self) -> Any:
        return self._suiting().iterate(self._setting.errors)

    def table(self, errors: Errors | None = None) -> Table:
        """What is known of each picture, a row each; waits for the job's end. See `PictureJob.table`."""
        __tracebackhide__ = True
        chosen = errors or self._setting.errors
        return self._suiting(encoded=True, errors=chosen).table(chosen)

    def stack(self, *, shared: bool = False) -> Any:
        """All pictures in one array of shape (number, height, width[, channels]); waits for the job's end.

        Args:
            shared: Put the array into the cluster's store and return its `Reference`: as an argument of a thousand items
                it is one block of shared memory, which they map.

        Raises:
            PictureError: They aren't of one size and mode: resize(…) or fit(…) them to one size, and convert("RGB").

        Example:
            >>> block = photos.fit((64, 64)).stack(shared=True)                       # doctest: +SKIP
            >>> cluster.map(lambda block, i: block[i].mean(), [block] * n, range(n))  # doctest: +SKIP
        """
        __tracebackhide__ = True
        stack = self._suiting().stack(self._setting.errors)
        return self._cluster._link.opener.put(stack) if shared else stack  # noqa: SLF001 (one class in two)

    def gallery(self, wait: bool | None = None) -> None:
        """Show the pictures as they come, as tiles that open at a click.

        Args:
            wait: Whether to return only at the job's end. By default a script or terminal waits, a notebook doesn't.
        """
        job = self._suiting(encoded=True, previews=True)
        views.backend().gallery(Feed(job, functools.partial(self._full, job)), wait)

    def show(self, wait: bool | None = None) -> None:
        """Show how its job goes, as `job.show`."""
        self._suiting(encoded=True).show(wait)

    def save(
        self,
        folder: str | os.PathLike[str],
        pattern: str = "{stem}.{ext}",
        *,
        format: str | None = None,  # noqa: A002 (Pillow's word)
        quality: int | None = None,
        lossless: bool = False,
        exif: bool = False,
        profile: bool = True,
        background: Any = "white",
        overwrite: bool = False,
        where: Literal["client", "workers"] = "client",
        errors: Errors | None = None,
    ) -> Table:
        """Save the pictures; waits until all are.

        A file is there whole or not at all. What is there from the same source and by the same steps and options isn't
        made again, so that an interrupted run goes on where it was. If there is a job, what it made is saved, as it was
        listed for it; once that is done, or if something failed, the sources are listed anew, and what is missing is
        made. Of pictures that fail, the others are saved all the same.

        Args:
            folder: On this computer, or with where="workers" on theirs; it is made if it isn't there.
            pattern: Their names: {stem}, {name}, {folder}, {ext}, {index:04d}, {hash}. See `names.Pattern`.
            format: jpeg, png, webp, avif, tiff, gif or bmp. By default what the pattern ends with, else png.
            quality: 1 to 100, for jpeg, webp, avif.
            lossless: For webp.
            exif: Keep EXIF data, which may say where a picture was taken.
            profile: Keep the colour profile.
            background: Under what is transparent, where the format has no alpha.
            overwrite: Whether files of these names may be replaced; pictures from addresses are fetched anew.
            where: "workers": the worker that made a picture writes it, and nothing but its name comes back.
            errors: As in `options`; "raise" raises the first error after the others were saved.

        Returns:
            A table of index, source, path, and made: whether it was made now.

        Raises:
            PictureExists: Another file of this name is there (an error of that picture).
            PictureNameRefused: The pattern can't be taken, or ends as another format.
            PictureUnwritable: The folder can't be written to.
        """
        __tracebackhide__ = True
        if not self._gives_pictures:
            raise TypeError("this pipeline gives no pictures that could be saved: table() has what it gives")
        if where not in {"client", "workers"}:
            raise ValueError(f"where is 'client' or 'workers', not {where!r}")
        named = Pattern(pattern)
        encoding = Encoding(format or named.format or "png", quality, lossless, exif, profile, background)
        made_by = plan_stamp(self._plan, encoding)
        named.check(encoding.format, compared=made_by is not None)
        chosen = errors or self._setting.errors
        check_errors(chosen)
        if where == "workers":
            # Where workers share this disk, the folder is the one that is meant here.
            place = os.fspath(folder) if self._sources.options.where == "workers" else os.path.abspath(folder)  # noqa: PTH100
            saving = Saving(place, named, encoding, overwrite, secrets.token_hex(8))
            return save_there(self._start(self._work(saving=saving), quiet=True), chosen)
        target = Target(Path(folder), named, encoding, overwrite)
        sources = self._sources
        going = interrupted(self._saving, target, made_by, once=sources.once)
        same = sources.once or sources.held is not None
        return saved(target, made_by, chosen, going, self._opening(target, made_by), same=same)

    def serve(self, name: str) -> None:
        """Keep this pipeline in the cluster as a server: `cluster.ask(name, image)` answers for one picture.

        It outlives this program. Questions of several programs go to the model together. A server is asked with bytes, a
        PIL image or an array; its own sources aren't looked at. The pipeline's options hold for each question, but for
        `errors`: who asks gets the error of the one picture. With a time limit each is a call of its own.

        Args:
            name: What it is asked by; a server of this name is replaced.

        Raises:
            TypeError: The pipeline has the option `name`.

        Example:
            >>> photos.recognize(tc.models.digits).serve("digits")                    # doctest: +SKIP
            >>> cluster.ask("digits", image).label                                    # doctest: +SKIP
            '7'
        """
        work = self._work()
        function = AskedTogether(work) if isinstance(work, Recognizing) else Asked(work)
        serve(self._cluster._link, name, function, self._setting.job)  # noqa: SLF001 (one class in two)

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _with(self, **changed: Any) -> Self:
        parts = {
            "plan": self._plan,
            "recognizer": self._recognizer,
            "setting": self._setting,
        } | changed
        return type(self)(self._cluster, self._sources, **parts)

    def _work(
        self, encoding: Encoding | None = None, saving: Saving | None = None, *, previews: bool = False
    ) -> Pictures:
        names = [step.name for step in self._plan.steps] + ["recognize"] * (self._recognizer is not None)
        label = "-".join(names)[:LABEL_CHARACTERS] or "images"
        if self._recognizer is not None:
            return Recognizing(self._plan, label=label, recognizer=self._recognizer, previews=previews)
        return Pictures(self._plan, encoding, saving, label)

    def _start(self, work: Pictures, *, quiet: bool | None = None) -> PictureJob:
        made_by = self._steps_stamp() if self._gives_pictures and work.saving is None else None
        self._job = self._open(work, quiet=quiet, made_by=made_by)
        return self._job

    def _open(
        self, work: Pictures, look: Start | None = None, *, quiet: bool | None = None, made_by: bytes | None
    ) -> PictureJob:
        link = self._cluster._link  # noqa: SLF001 (one class in two)
        setting = self._setting
        quiet = setting.errors != "raise" if quiet is None else quiet
        contents = self._gives_pictures
        job = start(link, self._sources, work, setting.job, setting.errors, look, contents=contents, quiet=quiet)
        job.made_by = made_by
        return job

    @property
    def _gives_pictures(self) -> bool:
        """Whether there is anything that could be saved, as far as steps say."""
        return self._recognizer is None and not (self._plan.steps and self._plan.steps[-1].name == "metadata")

    def _suiting(self, *, encoded: bool = False, previews: bool = False, errors: Errors | None = None) -> PictureJob:
        """The job that is there, if it has what is wanted; else a new one."""
        job = self._job
        if job is not None and job.state != "cancelled" and job.saves is None and job.work.saving is None:
            small = not previews or not isinstance(job.work, Recognizing) or job.work.previews
            if (job.work.encoding is None or encoded) and small:
                return job
        return self._start(self._work(previews=previews), quiet=previews or (errors or self._setting.errors) != "raise")

    def _steps_stamp(self) -> bytes | None:
        """What stands for the steps as they are now: values that functions use may change; None: it can't be told."""
        return plan_stamp(self._plan, Encoding("png"))

    def _opening(self, target: Target, made_by: bytes | None) -> Callable[[Start], PictureJob]:
        """What opens the job of a save."""
        work, once = self._work(target.encoding), self._sources.once
        link = self._cluster._link  # noqa: SLF001 (one class in two)

        def anew(look: Start) -> PictureJob:
            return self._open(work, look, quiet=True, made_by=made_by)

        def opened(look: Start) -> PictureJob:
            before, theirs = self._job, self._sources.options.where == "workers"
            # Of what lies on the workers' disks a stamp comes with the bytes only.
            used = None if theirs else made_before(before, self._steps_stamp, once=once)
            options = self._setting.job
            made = opened_to_save(used, link, target.encoding, options, look, anew, once=once, fetched=target.overwrite)
            made.saves, made.made_by, self._saving = target, made_by, made
            self._job = before if has_pictures(before) else made
            return made

        return opened

    def _full(self, job: PictureJob, index: int) -> Any:
        """One picture of a job again, as its steps make it, for a gallery."""
        link = self._cluster._link  # noqa: SLF001
        source = job.listed.as_it_was(index)
        if source is None:
            source = self._sources.named(job.listed.name(index), job.listed.place_in_name(index))
            job.listed.check(index, source)
        item = with_bytes(Item(index, source))
        return link.opener.submit(Pictures(self._plan, label="picture"), (item,), {}).result()
