"""What a fitted model uses: importance, contributions, effects, reasons and a check that they are not noise."""

from aimed.core import Catalog

__all__ = ["EXPLAINERS"]

EXPLAINERS = Catalog(
    "explainer",
    {
        "permutation": (
            "aimed.explain.permutation:permutation_importance",
            "Loss of a performance measure when one variable is shuffled among rows.",
        ),
        "shap": (
            "aimed.explain.shap_values:shap_values",
            "Additive contributions of each variable to each prediction of a linear or tree model.",
        ),
        "effects": (
            "aimed.explain.effects:effects",
            "Mean risk along a variable: accumulated local effects and partial dependence.",
        ),
        "reasons": ("aimed.explain.reasons:reasons", "The largest contributions to each single prediction."),
        "sanity": (
            "aimed.explain.sanity:randomised_outcome",
            "Importance after refitting on a shuffled outcome, which must collapse.",
        ),
        "nomogram": (
            "aimed.explain.nomogram:nomogram",
            "A score sheet that reads the risk of a linear model off the values of a patient.",
        ),
        "maps": (
            "aimed.explain.pictures:explain_pictures",
            "Heat maps of findings (Grad-CAM and its kin, occlusion) with the checks that say whether to believe them.",
        ),
        "localisation": (
            "aimed.explain.localisation:localisation",
            "Whether heat maps point at the lesion: pointing game, overlap and share inside, each beside chance.",
        ),
        "gallery": (
            "aimed.explain.gallery:gallery",
            "Best, worst and least certain cases of each finding, by their numbers in the study.",
        ),
        "contrasts": (
            "aimed.explain.volumes:contrast_importance",
            "Fall of Dice when one contrast of the scans is left out: which of them a segmenter needs.",
        ),
        "volume_maps": (
            "aimed.explain.volume_activation:explain_volume_maps",
            "Heat maps of outlined regions in volumes (Seg-Grad-CAM, Seg-HiResCAM) with their checks.",
        ),
        "volume_gallery": (
            "aimed.explain.volume_gallery:volume_gallery",
            "Worst, median, best and least certain outlined cases, over all regions and region by region.",
        ),
        "volume_pictures": (
            "aimed.explain.volume_pictures:volume_thumbnails",
            "Small pictures of outlined scans: planes, contrasts, slices, maps and surfaces.",
        ),
    },
    group="aimed.explainers",
)
