"""What a frozen vision tower makes of a clip, made once for rollout, policy, reference, later steps and evaluation."""

from museg.data.disk_cache import DiskCache
from museg.policy.feature_cache import FeatureCache
from museg.policy.loading import Policy
from museg.training.job import VisionFeatureSettings


def vision_features(policy: Policy, settings: VisionFeatureSettings) -> FeatureCache | None:
    """The features of a policy whose vision tower and projector keep their weights; None where one of them trains."""
    if any(weight.requires_grad for weight in policy.model.model.visual.parameters()):
        return None
    return FeatureCache(policy, settings.cache_mib, DiskCache.of_gib(settings.cache_dir, settings.cache_gib))
