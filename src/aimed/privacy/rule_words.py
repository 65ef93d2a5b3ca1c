"""Word lists of the rules: months, states, postcode areas, titles, and words that never are a person's name."""

from __future__ import annotations

from typing import Final

__all__ = [
    "COUNTRIES",
    "FACILITY_WORDS",
    "MONTHS",
    "NOT_A_NAME",
    "PARTICLES",
    "POSTCODE_AREAS",
    "STATES",
    "STATE_CODES",
    "word_set",
]


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


MONTHS: Final = (
    "january|february|march|april|may|june|july|august|september|october|november|december"
    "|jan|feb|mar|apr|jun|jul|aug|sept|sep|oct|nov|dec"
)

STATES: Final = frozenset(
    [
        *word_set("alabama alaska arizona arkansas california colorado connecticut delaware florida georgia hawaii"),
        *word_set("idaho illinois indiana iowa kansas kentucky louisiana maine maryland massachusetts michigan"),
        *word_set("minnesota mississippi missouri montana nebraska nevada ohio oklahoma oregon pennsylvania"),
        *word_set("tennessee texas utah vermont virginia washington wisconsin wyoming"),
        "new hampshire",
        "new jersey",
        "new mexico",
        "new york",
        "north carolina",
        "north dakota",
        "rhode island",
        "south carolina",
        "south dakota",
        "west virginia",
        "district of columbia",
        "puerto rico",
    ]
)
STATE_CODES: Final = (
    "AL|AK|AZ|AR|CA|CO|CT|DE|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|NM|NY|NC|ND|OH|OK|OR"
    "|PA|RI|SC|SD|TN|TX|UT|VT|VA|WA|WV|WI|WY|DC|PR|VI|GU|AS|MP|AA|AE|AP|FM|MH|PW"
)
COUNTRIES: Final = word_set(
    "england scotland wales ireland france germany spain italy portugal poland romania india china japan mexico"
    " canada"
    " brazil argentina nigeria kenya egypt turkey greece austria switzerland belgium holland norway sweden denmark"
    " finland iceland russia ukraine pakistan bangladesh vietnam korea thailand philippines australia africa europe"
    " asia america usa uk us britain israel lebanon syria iraq iran somalia ghana ethiopia jamaica cuba haiti"
)
POSTCODE_AREAS: Final = (
    "AB|AL|BA|BB|BD|BH|BL|BN|BR|BS|BT|CA|CB|CF|CH|CM|CO|CR|CT|CV|CW|DA|DD|DE|DG|DH|DL|DN|DT|DY|EC|EH|EN|EX|FK|FY|GL"
    "|GU|GY|HA|HD|HG|HP|HR|HS|HU|HX|IG|IM|IP|IV|JE|KA|KT|KW|KY|LA|LD|LE|LL|LN|LS|LU|ME|MK|ML|NE|NG|NN|NP|NR|NW|OL|OX"
    "|PA|PE|PH|PL|PO|PR|RG|RH|RM|SA|SE|SG|SK|SL|SM|SN|SO|SP|SR|SS|ST|SW|SY|TA|TD|TF|TN|TQ|TR|TS|TW|UB|WA|WC|WD|WF|WN"
    "|WR|WS|WV|YO|ZE|B|E|G|L|M|N|S|W"
)

PARTICLES: Final = word_set(
    "de da do dos das del della di du des la le les van von der den ter ten vom zu zum zur of bin binti ibn al el abu"
    " ap st mac san y e i og af"
) - {"of", "i"}

# What may stand before a word for an institution without naming one.
FACILITY_WORDS: Final = word_set(
    "the a an this our your local general outside outpatient inpatient day emergency acute regional district"
    " community"
    " teaching university county city state national public private children's childrens women's veterans psychiatric"
    " mental health rehabilitation another same referring base in at to from of other university's tertiary"
    " academic rural pain cardiology oncology field and or discharge admission hospital medical center clinic"
)

# Words that follow a title or a label and are no name; for notes in capitals, where every word looks like one.
NOT_A_NAME: Final = word_set("""
    a about abdomen abdominal able above abnormal absent accession according account active acute address admission
    admitted advised after afternoon again age aged agreed agrees air alert alive all allergic allergies also although
    am     ambulating an and angiogram angiography ankle anterior antibiotics any appears appointment approximately
    are arm
    arrived artery as asked aspect assessed assessment at attended attending attention available aware back be because
    been before being below benign bilateral biopsy birth bladder bleeding blood body bone bowel brain breast breath
    breathing but by call called came can cannot cardiac cardiology care case cell center centre cervical changes chart
    chest chief chronic clear clinic clinical clinically comes comfortable comparison complained complaining complains
    complete completed concern concerned condition confirmed confused consent consented consult consultant consultation
    contact continue continued continues contrast control copy could ct currently daily date dated daughter day days
    deceased declined denied denies department describes diabetic diagnosed diagnosis did died discharge discharged
    discussed disease do doctor does doing dob dose drug due during ear early ecg echo edema effusion elbow elderly
    electronically email emergency ended enjoys ent er evaluated evaluation evening ever evidence exam examination
    examined eye eyes face family father fax feels felt female few findings finger first flow fluid follow followed
    following follows foot for former found fracture from full further gave gender general gentleman given gp gyn had
    hand has have he head healthy heart height helped her here hers hip his history home hospital hours however i id if
    ill image images imaging immediately impression improved improving in including indicated indication infection
    informed injury inpatient instructed intact interpretation into is it its joint kidney knee known lab labs lady
    large last lateral laparoscopic left leg lesion less letter liver living location lower lumbar lung lungs made main
    male man management mass may md me medical medication medications medicine member met mild minimal mobile moderate
    morning mother mouth moved mr mri mra mrcp mrn mrs ms much must name named nan nausea neck needs negative neuro
    neurology new next night nil no none nor normal not note noted notes notified now nurse nursing number obese of off
    office old on oncology one ongoing only open operation opinion or oral orders oriented orthopaedics orthopedics
    other our out outpatient over pa pain pale pathology patient patients pediatric pelvis pending per perfusion phone
    physical physician placed plain plan pleasant please pleural pm pneumonia po positive possible post posterior
    pregnant present presented presenting presents pressure previous previously prior prn procedure provided provider
    psychiatry pt pulmonary pulse radiologist radiology reaction read received recent recently recommended
    recommends record referral referred referring refused regarding regards registrar related remained remains
    removed renal repeat report reported reports request requested requests resident residing respiratory resting
    results retired return returned review reviewed right room routine said sat scan scheduled second see seen sent
    service severe sex she shoulder should showed shows side signed significant since sincerely sitting skin sleeping
    slightly small smoker so some son specialist specimen spine spoke stable staff started states status stayed still
    stomach stopped stroke study subject suffered suffers surgeon surgery surgical swelling symptoms tablets taken
    takes taking tel telephone temperature test than thank thanks that the their them then there therefore therapy
    these they this thoracic thorax those throat thyroid time to today told tolerated tomorrow took transferred
    treated treatment triage two type ultrasound under underwent unable unchanged undergoing unit unknown unremarkable
    until unwell up upper urine urology us use using usual very via view views visit visited vitals vomiting waiting
    wants ward was we weight well went were when where which while white who whom whose wife will wishes with within
    without woman work would wound wrist x xray year years yes yesterday you young your yours faithfully dear re ref
    encounter insurance policy provider's gentleman's male's female's race ethnicity sex gender marital occupation
    cervix uterus ovary prostate colon rectum oesophagus esophagus aorta aortic mitral tricuspid valve vein venous
    arterial enterography urography cholangiogram elastography spectroscopy regurgitation stenosis guided arthrogram
    venogram angio brainstem orbits pituitary sella sacrum femur tibia humerus soft tissue both whole limited exam
    monday tuesday wednesday thursday friday saturday sunday january february march april june july august september
    october november december total partial intubated sedated ventilated awake asleep afebrile febrile tachycardic
    bradycardic hypertensive hypotensive hypoxic cooperative uncooperative anxious tearful obese thin cachectic frail
    independent dependent mobilising mobilizing eating drinking nbm npo dnr dnar full-time pharmacy dispensed team teams
    dictated dictation transcribed approved verified finalized preliminary final addendum telecon page pager
    bleep beeper extension ext street avenue road appt
    afterwards later earlier tonight who's performed performs wrote writes thinks believes ordered
    suggested suggests noticed started restarted increased decreased added changed prescribed administered removed
    passport np rn lcsw bring frcr frcs frcp mrcp mbbs mbchb facr facs aprn lpn crna dds dpm pharmd fcap facc bsn msw
    cnm dnp phd fracp fracs frcpc frcsc mrcog frcog fcps ffsem rcsi lives
    inserted sutured drained aspirated intubating operating covering oncall locum senior junior
    """)
