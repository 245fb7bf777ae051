"""Any torch Dataset or DataLoader of images, as a set or batch by batch; and what is refused."""

import lightning
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from gan_ablate import DCGAN, GANDataModule
from gan_ablate.data.images import to_float
from gan_ablate.data.torch_sets import batch_of, image_set
from gan_ablate.errors import InputError

PIXELS = torch.randint(0, 256, (40, 3, 16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
LABELS = torch.arange(40) % 4


class Entries(Dataset):
    """Entries made from (image uint8 (C, H, W), label)."""

    classes = ["ant", "bee", "cat", "dog"]

    def __init__(self, make, pixels=PIXELS):
        self.make, self.pixels = make, pixels

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, k):
        if not 0 <= k < len(self):
            raise RuntimeError("beyond the end")
        return self.make(self.pixels[k], int(LABELS[k]))


class Stream(IterableDataset):
    def __iter__(self):
        yield from zip(PIXELS, LABELS.tolist())


def unit(image):
    return image.float() / 255


FORMS = {
    "uint8": lambda image, label: (image, label),
    "image alone": lambda image, label: image,
    "in a tuple": lambda image, label: (image,),
    "[0, 1]": lambda image, label: (unit(image), torch.tensor(label)),
    "[-1, 1]": lambda image, label: (unit(image) * 2 - 1, label),
    "float64": lambda image, label: (unit(image).double(), label),
    "mapping": lambda image, label: {"image": image, "label": label},
    "PIL": lambda image, label: (Image.fromarray(image.permute(1, 2, 0).numpy()), label),
    "array": lambda image, label: (np.asarray(image), label),
    "unlabelled": lambda image, label: (image, -1),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_entry_is_the_same_set(form):
    found = image_set(Entries(FORMS[form]))
    assert torch.equal(found.images, PIXELS)
    if form in ("image alone", "in a tuple", "unlabelled"):
        assert found.labels is None
        assert found.classes == ()
    else:
        assert torch.equal(found.labels, LABELS)
        assert found.classes == ("ant", "bee", "cat", "dog")


def test_a_loader_gives_its_whole_dataset_in_order_and_draws_nothing():
    state = torch.get_rng_state()
    loader = DataLoader(Entries(FORMS["[0, 1]"]), batch_size=16, shuffle=True, drop_last=True)
    data = GANDataModule(loader)
    assert torch.equal(data.images.images, PIXELS)
    assert data.batch_size == 16
    assert torch.equal(image_set(Stream()).images, PIXELS)
    assert torch.equal(image_set(DataLoader(Stream(), batch_size=7)).labels, LABELS)
    assert torch.equal(state, torch.get_rng_state())
    some = image_set(Subset(Entries(FORMS["uint8"]), [5, 6]))
    assert (some.images.equal(PIXELS[5:7]), some.classes) == (True, ("ant", "bee", "cat", "dog"))


def test_sizes_are_brought_to_one_and_grey_is_not_colour():
    wide = torch.zeros(3, 3, 20, 30, dtype=torch.uint8)
    wide[:, :, :, 5:25] = 255  # the middle square
    found = image_set(Entries(FORMS["uint8"], wide), size=16)
    assert found.images.shape == (3, 3, 16, 16)
    assert found.images.min() == 255
    grey = image_set(TensorDataset(PIXELS[:, 0]), channels=3)
    assert torch.equal(grey.images, PIXELS[:, :1].expand(-1, 3, -1, -1))


def test_a_range_that_shows_late_is_an_error_unless_it_is_told():
    late = torch.rand(1100, 1, 4, 4)
    late[1050] = -0.5
    with pytest.raises(
        InputError, match=r"image 1,050 has values from -0.5 .* the range is \[0, 1\]: give value_range"
    ):
        image_set(TensorDataset(late))
    found = image_set(TensorDataset(late), value_range=(-1, 1))
    assert torch.equal(to_float(found.images) >= -1 / 255, late >= -1 / 255)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (TensorDataset(torch.zeros(4, 16, 16, 3, dtype=torch.uint8)), "look like height x width x channels"),
        (TensorDataset(torch.zeros(4, 5, 16, 16, dtype=torch.uint8)), "images are 5x16x16: need 1 or 3 channels first"),
        (TensorDataset(torch.zeros(4, 3, 16, 20, dtype=torch.uint8)), "3x16x20, not square: give size="),
        (TensorDataset(torch.zeros(4, 3, 16, 16, dtype=torch.int64)), "image 0 is int64: needs uint8"),
        (TensorDataset(PIXELS.float()), r"values from 0 to 255, but the range is \[0, 1\]"),
        (TensorDataset(PIXELS.float() * torch.nan), "image 0 has values from nan"),
        (TensorDataset(PIXELS, torch.zeros(40, 7)), "its label is no class number"),
        (TensorDataset(PIXELS, LABELS - 1), "some images have no class number"),
        (
            Entries(lambda image, label: (image[:, : 16 - label, : 16 - label], label)),
            "image 1 is 3x15x15, the first 3x16x16",
        ),
        (Entries(lambda image, label: {"picture": image}), "its image needs one of image"),
        (Entries(lambda image, label: "a.png"), "an image is a str"),
        (Entries(FORMS["uint8"], PIXELS[:0]), "has no images"),
        ([1, 2], "needs a torch Dataset"),
    ],
)
def test_what_is_no_set_of_images(source, said):
    with pytest.raises(InputError, match=said):
        image_set(source)


@pytest.mark.parametrize("form", ["image alone", "[0, 1]"])
def test_a_plain_loader_trains_as_the_data_module_does(form):
    """The same batches in the same order: whatever a loader's form, the step sees the same images."""

    def end(data):
        module = DCGAN(width=4, batch_size=8, precision="fp32", steps=5)
        lightning.Trainer(
            max_epochs=9, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(module, data)  # fmt: skip
        return module.state_dict()

    plain = end(DataLoader(TensorDataset(PIXELS, LABELS), batch_size=8))
    found = end(DataLoader(Entries(FORMS[form]), batch_size=8))
    assert all(torch.allclose(plain[k].float(), found[k].float(), atol=1e-4) for k in plain)


def test_labels_of_a_batch():
    assert batch_of(PIXELS)[1].shape == (0,)
    assert torch.equal(batch_of([PIXELS, LABELS.int()])[1], LABELS)
    assert batch_of([PIXELS, torch.zeros(40, 7)])[1].shape == (0,)  # attributes are no classes
