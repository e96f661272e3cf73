import torch

from museg.policy.cuda_graph import recorded


def test_on_a_processor_the_work_is_just_done():
    """Nothing is recorded, and nothing is done before it is asked for."""
    counter = torch.zeros(1)

    def work():
        counter.add_(1)

    replay = recorded(work, [counter])
    assert counter.item() == 0
    replay()
    replay()
    assert counter.item() == 2
