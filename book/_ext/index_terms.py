"""Sphinx extension: the search leads from a term, and from its abbreviation, to the place that explains it.

Sphinx ranks an index entry that is what was typed above every page that merely has the word. So each term of `HOMES`
becomes an index entry of its home: a section of a chapter, found by words of its title, or the chapter itself.
"""

from docutils import nodes
from sphinx import addnodes
from sphinx.errors import ExtensionError
from sphinx.transforms import SphinxTransform

HOMES = {  # page: {words in the title of a section, or "" for the whole page: the terms at home there}
    "notebooks/03_minimax": {
        "": ("minimax", "minimax loss"),
        "What the value measures": ("JSD", "Jensen-Shannon divergence"),
        "Saturating": ("non-saturating", "non-saturating loss", "vanishing gradients"),
    },
    "notebooks/05_generator": {
        "Batch normalisation": ("BatchNorm", "batch norm", "batch normalisation", "batch normalization"),
        "transposed convolution": ("transposed convolution", "ConvTranspose2d", "deconvolution"),
        "The checkerboard": ("checkerboard", "checkerboard artifacts"),
    },
    "notebooks/06_discriminator": {"LeakyReLU": ("LeakyReLU",), "Dropout": ("dropout",)},
    "notebooks/07_training_loop": {
        "The recipe of the command line": ("EMA", "exponential moving average", "moving average"),
        "detach": ("detach",),
        "Adam": ("Adam",),
    },
    "notebooks/09_evaluation": {
        "The Fréchet distance": ("FID", "Fréchet distance", "Fréchet inception distance", "Frechet distance"),
        "The kernel distance": ("KID", "kernel inception distance"),
        "precision and recall": ("precision and recall", "precision", "recall"),
        "Does it copy?": ("memorisation",),
    },
    "notebooks/10_mode_collapse": {"": ("mode collapse", "collapse", "mode dropping")},
    "notebooks/11_wasserstein": {
        "": ("WGAN", "Wasserstein", "Wasserstein GAN", "earth mover", "earth mover's distance"),
        "Second limit": ("WGAN-GP", "gradient penalty"),
        "First limit": ("weight clipping",),
    },
    "notebooks/12_unrolled": {"": ("unrolled GAN",)},
    "notebooks/14_latent_space": {"": ("latent space",), "Two paths": ("interpolation",)},
    "notebooks/21_modern_gan": {
        "R1 and R2": ("R1", "R2", "R1 penalty", "zero-centred gradient penalty"),
        "Pairs": ("relativistic GAN",),
    },
}


def section_with(document, words):
    """The first section whose title has these words; for no words, the first section of all."""
    for section in document.findall(nodes.section):
        if words in section.next_node(nodes.title).astext():
            return section
    raise ExtensionError(f"no title of the page has the words {words!r}, where terms of the index are at home")


class IndexTerms(SphinxTransform):
    default_priority = 420  # headings are sections by now; Sphinx collects index entries at 500

    def apply(self, **_):
        for words, terms in HOMES.get(self.env.docname, {}).items():
            section = section_with(self.document, words)
            entries = [("single", term, section["ids"][0], "main", None) for term in terms]
            section.insert(1, addnodes.index("", entries=entries))


def setup(app):
    app.add_transform(IndexTerms)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
