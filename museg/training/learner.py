"""What a run trains, handed on from fit to fit: the policy, and what its method trains beside it."""

from pathlib import Path

import lightning.pytorch as pl
from torch import nn

from museg.files import sha256_of
from museg.phases.batches import derive_seed
from museg.phases.schedule import Fit
from museg.policy.adapter import load_trained, merged
from museg.policy.export import export
from museg.policy.reference import WEIGHTS_FILE, reference_of
from museg.training import processes
from museg.training.base_model import put_adapter_on
from museg.training.checkpoints import Checkpoint, part_of
from museg.training.job import TrainingJob
from museg.training.train_parts import train_parts


class Learner:
    """The policy as the job makes it, until `prepare` lets the method make of it what it trains.

    `beside` is what the method trains beside it; None before that, and where it is nothing.
    """

    def __init__(self, job: TrainingJob, run_dir: Path) -> None:
        self.job, self.run_dir = job, run_dir
        self.policy = job.make_policy()
        self.beside: nn.Module | None = None

    def prepare(self) -> None:
        """Let the method make of the policy what it trains, and what it trains beside it."""
        job = self.job
        self.policy, self.beside = job.module_class.prepared(self.policy, job.seed, **job.module_options)

    def put_adapter_on(self, *, is_resumed: bool) -> None:
        """From here on an adapter trains, where one is asked for; the model that it is put on stays as it is."""
        seed = derive_seed(self.job.seed, "adapter")
        put_adapter_on(self.policy, self.run_dir, seed, is_resumed=is_resumed, is_made_here=self.job.cold_start.enabled)

    def make_again(self, checkpoint: Checkpoint) -> None:
        """Whole, with a checkpoint's weights, where a fit has left each process but a part of them."""
        self.policy = self.job.make_policy()
        self.prepare()
        self.put_adapter_on(is_resumed=True)
        self.load_weights(checkpoint)

    def load_weights(self, checkpoint: Checkpoint) -> None:
        """Put a checkpoint's weights into the policy, without any optimizer state."""
        weights = checkpoint.weights()
        load_trained(self.policy, part_of(weights, "model."))
        if self.beside is not None:
            self.beside.load_state_dict(part_of(weights, "heads."))

    def write_model(self, folder: Path) -> None:
        """The policy as it is now, and what was trained beside it, as a Hugging Face folder."""
        export(merged(self.policy), folder, budget=self.job.budget)
        if self.beside is not None:
            self.job.module_class.write_beside(folder, self.beside.state_dict(), **self.job.module_options)

    def module(self, fit: Fit, continued: Checkpoint | None) -> pl.LightningModule:
        """The method's module for a fit, in which learns what the fit's phase names, and nothing else."""
        if (parts := fit.phases[0].trains) is not None:
            train_parts(self.policy, self.beside, parts)
        if self.job.module_class.needs_reference(self.job):
            return self._module_with_reference(self.run_dir / "reference" / fit.name, continued)
        beside = {} if self.beside is None else {"heads": self.beside}
        return self.job.module_class(self.policy, self.job, **beside, **self.job.module_options)

    def _module_with_reference(self, folder: Path, continued: Checkpoint | None) -> pl.LightningModule:
        """The reference is anchored in `folder` where the fit starts, and found there when it is continued."""
        reference = reference_of(self.policy)
        if continued:
            reference.load(folder)
        else:
            processes.on_first(lambda: reference.save(folder))
        module = self.job.module_class(self.policy, self.job, reference, **self.job.module_options)
        module.reference_sha256 = processes.on_first(lambda: sha256_of(folder / WEIGHTS_FILE))
        return module
