"""Sentences of made-up chest reports: for each finding how it is affirmed, denied, doubted or only spoken of."""

from __future__ import annotations

__all__ = ["INDICATIONS", "NEUTRAL", "OBSERVATIONS", "SENTENCES", "SHARED_DENIALS", "SLOTS"]

OBSERVATIONS = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Lesion",
    "Lung Opacity",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
"""The fourteen observations in the order of the CheXpert labels."""

SLOTS = {
    "side": ("left", "right"),
    "lobe": ("left lower lobe", "right upper lobe", "right middle lobe", "lingula", "left upper lobe", "right base"),
    "amount": ("small", "moderate", "large", "trace", "tiny"),
    "degree": ("mild", "moderate", "severe", "minimal"),
    "mm": ("6", "8", "9", "11", "14", "17"),
    "cm": ("1.4", "2.1", "3.5", "4.2"),
    "rib": ("third", "fifth", "sixth", "eighth"),
    "since": ("since yesterday", "compared with the prior film", "over the interval", "from the last examination"),
}

_Y, _N, _M, _P = "present", "absent", "uncertain", "spoken_of"

SENTENCES: dict[str, dict[str, tuple[str, ...]]] = {
    "Enlarged Cardiomediastinum": {
        _Y: (
            "The mediastinum is widened.",
            "There is widening of the superior mediastinum {since}.",
            "Enlarged cardiomediastinal silhouette.",
            "The cardiomediastinal contour has become wider.",
            "Prominent mediastinal widening is seen.",
            "Mediastinal widening has increased {since}.",
        ),
        _N: (
            "The mediastinal contours are normal.",
            "The cardiomediastinal silhouette is within normal limits.",
            "No mediastinal widening.",
            "Mediastinum is not widened.",
            "Unremarkable cardiomediastinal contours.",
        ),
        _M: (
            "Possible widening of the mediastinum, which may be projectional.",
            "The mediastinum may be slightly widened.",
            "Apparent mediastinal widening is likely due to rotation.",
        ),
        _P: ("If the mediastinum widens, a CT should be obtained.",),
    },
    "Cardiomegaly": {
        _Y: (
            "The heart is enlarged.",
            "{degree} cardiomegaly is again seen.",
            "There is stable enlargement of the cardiac silhouette.",
            "Cardiac size is increased {since}.",
            "Heart size is above normal.",
            "The heart remains markedly enlarged.",
            "Increased heart size with a globular shape.",
            "Cardiomegaly without failure.",
        ),
        _N: (
            "Heart size is normal.",
            "The heart is not enlarged.",
            "No cardiomegaly.",
            "Cardiac silhouette within normal limits.",
            "The heart is of normal size and shape.",
        ),
        _M: (
            "The heart may be mildly enlarged.",
            "Possible cardiomegaly, exaggerated by the portable technique.",
            "Heart size is difficult to judge and could be enlarged.",
        ),
        _P: ("The patient has a history of cardiomegaly.",),
    },
    "Lung Lesion": {
        _Y: (
            "There is a {mm} mm nodule in the {lobe}.",
            "A {cm} cm mass is seen in the {lobe}.",
            "Multiple pulmonary nodules are unchanged {since}.",
            "A cavitary lesion occupies the {lobe}.",
            "Nodule in the {lobe} has grown {since}.",
            "The known lung mass on the {side} persists.",
            "Two nodules, the larger of {mm} mm, project over the {lobe}.",
        ),
        _N: (
            "No suspicious pulmonary nodule.",
            "No lung mass is identified.",
            "There are no nodules or masses.",
            "Lungs are free of nodules.",
        ),
        _M: (
            "A nodule in the {lobe} cannot be excluded.",
            "Questionable {mm} mm nodule in the {lobe}.",
            "Density at the {lobe} may represent a mass.",
            "Possible nodule versus a vessel on end in the {lobe}.",
        ),
        _P: (
            "Nodules smaller than 6 mm would not be seen on this film.",
            "Previously described nodule was a nipple shadow.",
        ),
    },
    "Lung Opacity": {
        _Y: (
            "Patchy opacity in the {lobe}.",
            "There are {degree} bilateral airspace opacities.",
            "Hazy opacification of the {side} lung base.",
            "An ill defined infiltrate is seen in the {lobe}.",
            "Increasing opacity at the {side} base {since}.",
            "Streaky opacities persist in the {lobe}.",
        ),
        _N: (
            "No focal airspace opacity.",
            "There is no infiltrate.",
            "The lungs are without focal opacity.",
            "Opacities are not seen.",
            "The infiltrate of the {lobe} has cleared.",
        ),
        _M: (
            "Possible opacity in the {lobe}.",
            "Subtle opacity at the {side} base cannot be ruled out.",
            "There may be an infiltrate in the {lobe}.",
        ),
        _P: (
            "The opacity seen on the prior film in the {lobe} was an artefact.",
            "Overlying soft tissue limits the evaluation for opacities.",
        ),
    },
    "Edema": {
        _Y: (
            "{degree} pulmonary edema.",
            "There is interstitial edema, worse {since}.",
            "Findings of {degree} pulmonary edema persist.",
            "Pulmonary edema has increased {since}.",
            "Alveolar edema is present on both sides.",
            "Diffuse interstitial edema with Kerley lines.",
            "Not only congestion but also edema is seen.",
        ),
        _N: (
            "No pulmonary edema.",
            "There is no evidence of edema.",
            "No overt pulmonary edema or congestion.",
            "Pulmonary edema has cleared.",
        ),
        _M: (
            "Possible mild interstitial edema.",
            "Edema cannot be excluded.",
            "Findings may represent early pulmonary edema.",
            "Edema versus atypical infection.",
        ),
        _P: ("Treated for pulmonary edema last year.", "Her mother died of pulmonary edema."),
    },
    "Consolidation": {
        _Y: (
            "Dense consolidation in the {lobe}.",
            "There is {side} basilar consolidation.",
            "Consolidation of the {lobe} is unchanged {since}.",
            "Worsening multifocal consolidation.",
            "The {lobe} is consolidated.",
            "Although there is no effusion, the {lobe} shows consolidation.",
        ),
        _N: (
            "No focal consolidation.",
            "The lungs are clear without consolidation.",
            "No evidence of lobar consolidation.",
            "Negative for consolidation.",
            "Consolidation of the {lobe} is no longer present.",
        ),
        _M: (
            "Early consolidation in the {lobe} is possible.",
            "Possible retrocardiac consolidation.",
            "Consolidation in the {lobe} is difficult to exclude.",
        ),
        _P: ("Consolidation was treated elsewhere three years ago.",),
    },
    "Pneumonia": {
        _Y: (
            "Findings are consistent with pneumonia in the {lobe}.",
            "{lobe} pneumonia.",
            "Multifocal pneumonia has progressed {since}.",
            "There is pneumonia of the {side} lung.",
            "Bronchopneumonia at both bases.",
            "Aspiration pneumonia is present on the {side}.",
            "No improvement of the {lobe} pneumonia.",
        ),
        _N: (
            "No evidence of pneumonia.",
            "No radiographic findings of pneumonia.",
            "Pneumonia is not seen.",
            "The film is negative for pneumonia.",
            "Interval resolution of the {lobe} pneumonia.",
        ),
        _M: (
            "This may represent pneumonia in the proper clinical setting.",
            "Suspicious for {lobe} pneumonia.",
            "Pneumonia cannot be excluded.",
            "Probable early pneumonia.",
            "Atelectatic change or pneumonia could look like this.",
        ),
        _P: ("The patient had pneumonia as a child.", "Follow-up is advised should signs of pneumonia develop."),
    },
    "Atelectasis": {
        _Y: (
            "Bibasilar atelectasis.",
            "There is {degree} atelectasis at the {side} base.",
            "Linear atelectasis in the {lobe}.",
            "Plate-like atelectasis persists {since}.",
            "Atelectatic changes are present at the bases.",
            "Collapse of the {lobe} with volume loss.",
            "Atelectasis of the {lobe} is more extensive {since}.",
        ),
        _N: (
            "No atelectasis.",
            "No evidence of atelectasis or collapse.",
            "Previously noted atelectasis has resolved.",
        ),
        _M: (
            "Streaks at the {side} base, likely atelectasis.",
            "Possible atelectasis in the {lobe}.",
            "Findings at the base suggest atelectasis.",
            "Probable subsegmental atelectasis.",
        ),
        _P: ("Deep breathing is advised to prevent atelectasis.",),
    },
    "Pneumothorax": {
        _Y: (
            "{amount} {side} apical pneumothorax.",
            "There is a {amount} pneumothorax on the {side}.",
            "The {side} pneumothorax has increased {since}.",
            "Persistent {side} pneumothorax.",
            "Tension pneumothorax on the {side}; the team was called.",
            "Unchanged {amount} {side} pneumothorax.",
            "No change in the {side} pneumothorax.",
        ),
        _N: (
            "No pneumothorax.",
            "There is no evidence of pneumothorax on either side.",
            "No residual pneumothorax after removal of the drain.",
            "The {side} pneumothorax has resolved.",
            "Pneumothorax is no longer visible.",
            "Neither pneumothorax nor free air.",
        ),
        _M: (
            "A small {side} pneumothorax cannot be excluded.",
            "Possible tiny apical pneumothorax.",
            "A skin fold on the {side} mimics, but a pneumothorax is not entirely excluded.",
        ),
        _P: (
            "Repeat the film in four hours to look for pneumothorax.",
            "Past history of spontaneous pneumothorax.",
            "Risk of pneumothorax was explained.",
        ),
    },
    "Pleural Effusion": {
        _Y: (
            "{amount} {side} pleural effusion.",
            "There are {amount} bilateral pleural effusions.",
            "The {side} effusion is larger {since}.",
            "Blunting of the {side} costophrenic angle by a {amount} pleural effusion.",
            "No change in the {amount} {side} pleural effusion.",
            "Layering pleural fluid on the {side}.",
            "Right greater than left pleural effusions.",
        ),
        _N: (
            "No pleural effusion.",
            "Costophrenic angles are sharp without effusion.",
            "There is no evidence of pleural fluid.",
            "The {side} effusion has completely resolved.",
            "Pleural effusions are absent.",
        ),
        _M: (
            "Possible {amount} {side} pleural effusion.",
            "A small {side} effusion cannot be excluded.",
            "There may be a trace of pleural fluid on the {side}.",
            "Effusion or thickening at the {side} angle; effusion is questionable.",
        ),
        _P: ("Known to have had a malignant effusion drained in another hospital.",),
    },
    "Pleural Other": {
        _Y: (
            "Pleural thickening at the {side} apex.",
            "Calcified pleural plaques on both sides.",
            "Biapical pleural scarring is unchanged.",
            "There is {degree} {side} pleural thickening.",
            "Thickening of the pleura along the {side} chest wall.",
        ),
        _N: ("No pleural thickening.", "There are no pleural plaques.", "The pleura is not thickened."),
        _M: ("Possible pleural thickening at the {side} apex.", "Pleural scarring on the {side} is suspected."),
        _P: ("Asbestos work is a risk for pleural plaques.",),
    },
    "Fracture": {
        _Y: (
            "Healing fracture of the {side} {rib} rib.",
            "There is an acute fracture of the {side} clavicle.",
            "Compression fracture of a thoracic vertebra.",
            "Old {side} rib fractures.",
            "Displaced {rib} rib fracture on the {side}.",
            "The {side} {rib} rib is fractured.",
        ),
        _N: (
            "No acute fracture.",
            "No displaced rib fracture.",
            "No fracture is identified.",
            "The ribs show no fractures.",
            "Negative for fracture or dislocation.",
        ),
        _M: (
            "Possible nondisplaced fracture of the {side} {rib} rib.",
            "A fracture of the {side} clavicle cannot be excluded.",
            "Question of a {rib} rib fracture.",
        ),
        _P: ("Status post fixation of a hip fracture.", "Films of the ribs are better for fractures."),
    },
    "Support Devices": {
        _Y: (
            "Endotracheal tube tip is {cm} cm above the carina.",
            "A {side} chest tube is in place.",
            "Nasogastric tube courses below the diaphragm.",
            "{side} internal jugular line with its tip in the superior vena cava.",
            "Dual-lead pacemaker in unchanged position.",
            "Tracheostomy tube is well placed.",
            "A PICC ends at the cavoatrial junction.",
            "Swan-Ganz catheter in the pulmonary artery.",
        ),
        _N: ("No central line is seen.", "The endotracheal tube has been removed."),
        _M: ("A faint line over the neck may be a catheter.",),
        _P: ("A line should be placed before transfer.",),
    },
}
"""Templates by finding and by what they say of it; `spoken_of` names the finding without saying that it is there."""

SHARED_DENIALS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "No focal consolidation, pleural effusion, or pneumothorax.",
        ("Consolidation", "Pleural Effusion", "Pneumothorax"),
    ),
    ("There is no effusion or pneumothorax.", ("Pleural Effusion", "Pneumothorax")),
    ("No pneumonia, edema or effusion is seen.", ("Pneumonia", "Edema", "Pleural Effusion")),
    ("Without evidence of consolidation, edema, or pneumothorax.", ("Consolidation", "Edema", "Pneumothorax")),
    ("Neither consolidation nor pleural effusion.", ("Consolidation", "Pleural Effusion")),
    ("Heart size is normal and there is no pulmonary edema.", ("Cardiomegaly", "Edema")),
    ("Negative for pneumothorax, effusion and fracture.", ("Pneumothorax", "Pleural Effusion", "Fracture")),
    ("Heart and mediastinum are normal.", ("Cardiomegaly", "Enlarged Cardiomediastinum")),
)
"""Denials of several findings in one sentence."""

NEUTRAL = (
    "Low lung volumes.",
    "The patient is rotated.",
    "The trachea is midline.",
    "Degenerative changes of the spine.",
    "The aorta is tortuous.",
    "Visualised bowel gas is unremarkable.",
    "Surgical clips are seen in the upper abdomen.",
    "Lungs are hyperinflated.",
    "Scoliosis of the thoracic spine.",
    "The bones are demineralised.",
    "Examination is limited by body habitus.",
    "Calcification of the aortic arch.",
    "Portable technique.",
    "Hilar contours are unchanged.",
)
INDICATIONS = (
    "Cough and fever, evaluate for pneumonia.",
    "Shortness of breath.",
    "Rule out pneumothorax after line placement.",
    "Chest pain.",
    "Fall, assess for rib fracture.",
    "History of heart failure, question edema.",
    "Pre-operative.",
    "Known effusion, follow-up.",
    "Hypoxia.",
    "Lung cancer, staging.",
    "Interval change.",
    "Weakness and weight loss.",
)
