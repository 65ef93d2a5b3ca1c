"""Made-up reports with planted answers: templates with slots and distractors, in parts that share no template.

The answer is marked in a template by « and ». Rules were mended on parts "a", "b" and "dev", later on "c" and "d1". Parts
"d1" and "d2" are halves, drawn at random within kinds, of rows written before the rules were read; "d2" is only for
reporting. `answer_confidence.toml` is fitted on "d3" and "dev". Run this file to write it.
"""

# ruff: noqa: E501
from __future__ import annotations

import random
import re
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

FILLER = {
    "a": [
        "The cardiomediastinal silhouette is unremarkable.",
        "No acute osseous abnormality.",
        "Lungs are clear.",
        "The visualized upper abdomen is unremarkable.",
        "There are mild degenerative changes of the thoracic spine.",
        "Pulmonary vascularity is normal.",
        "Quit smoking 10 years ago.",
        "Father died at age 60 of a heart attack.",
        "Sternotomy wires are intact.",
    ],
    "b": [
        "Heart size is within normal limits.",
        "The bony thorax is intact.",
        "No airspace disease.",
        "Soft tissues are unremarkable.",
        "Mediastinal contours are stable.",
        "The trachea is midline.",
        "Mother was diagnosed with breast cancer at age 48.",
        "There is a 30 pack-year smoking history.",
        "Cholecystectomy clips are noted.",
    ],
}
QUESTIONS = {
    "age": ["How old is the patient?", "age", "What is the patient's age?", "What is the age of the patient?"],
    "sex": ["Is the patient male or female?", "sex", "What is the gender of the patient?", "What sex is the patient?"],
    "nodule_size": [
        "How large is the lung nodule?",
        "nodule size",
        "What is the size of the largest pulmonary nodule?",
        "How big is the nodule?",
    ],
    "ejection_fraction": ["What is the ejection fraction?", "EF", "What is the LVEF?", "ejection fraction"],
    "ett": ["Where is the tip of the endotracheal tube?", "How far above the carina is the ETT?", "ETT position"],
    "line": [
        "Where does the central line end?",
        "central line position",
        "Where is the tip of the central venous catheter?",
    ],
    "ng": ["Where is the NG tube?", "NG tube position", "Where does the nasogastric tube terminate?"],
    "pacer": ["Where are the pacemaker leads?", "position of the pacemaker leads"],
    "laterality": [
        "Which side is the {finding} on?",
        "Is the {finding} on the left or right?",
        "laterality of the {finding}",
    ],
    "date": ["When was the comparison study?", "What is the date of the prior study?"],
    "exam_date": ["What is the date of the exam?", "When was the study performed?"],
    "comparison": ["What was it compared with?", "comparison"],
    "severity": ["How severe is the {finding}?", "severity of the {finding}"],
    "presence": ["Is there a {finding}?", "Does the patient have {finding}?", "Any evidence of {finding}?"],
    "measurements": ["List all measurements", "measurements"],
}
# Templates that hold the answer, and ones that look like it and do not.
STATED = {
    "age": {
        "a": [
            "The patient is a «{age}»-year-old {sexnoun}.",
            "INDICATION: «{age}» y/o {MF} with cough.",
            "Age: «{age}». Sex: {Sex}.",
            "«{age}» year old {sexnoun} with chest pain.",
            "Patient aged «{age}» presents with fever.",
            "HISTORY: «{age}»{MF} with dyspnea.",
            "This is a «{age}» yo {sexnoun} with a 20-year-old pacemaker.",
            "{Sex}, «{age}» years old, smoker for 30 years.",
            "A «{weeks}»-week-old infant with respiratory distress.",
            "She is «{age}» years of age.",
            "{MF}/«{age}», cough.",
        ],
        "b": [
            "Clinical history: «{age}»-year old {sexnoun}, short of breath.",
            "«{age}» yr old {sexnoun}, status post fall 3 years ago.",
            "The patient, «{age}» years old, has had a cough for 4 weeks.",
            "Patient age: «{age}» years.",
            "«{age}» y.o. {sexnoun} with hypoxia.",
            "INDICATION: {sexnoun}, age «{age}», with chest pain.",
            "Age/Sex: «{age}»/{MF}.",
            "Pleasant «{age}»-year-old {sexnoun} whose father is 81 years old.",
            "REASON FOR EXAM: «{age}»yo{MF} s/p CABG.",
            "«{months}»-month-old {child} with cough and fever.",
            "A {sexnoun} of «{age}» years with weight loss.",
        ],
    },
    "sex": {
        "a": [
            "The patient is a {age}-year-old «{sexnoun}».",
            "{age} y/o «{MF}» with cough.",
            "Sex: «{MF}». Age: {age}.",
            "{age} year old «{sexnoun}» with chest pain.",
            "An elderly «{sexnoun}» with dementia.",
            "{age} yo «{sexnoun}» brought in by her husband.",
            "INDICATION: {age}«{MF}» with dyspnea.",
            "{age}-year-old African American «{sexnoun}» with asthma.",
        ],
        "b": [
            "Gender: «{sexword}».",
            "«{Sexnoun}», {age} years old, with fever.",
            "{age}-year-old right-handed «{sexnoun}» with cough.",
            "Patient is a «{sexnoun}» aged {age}.",
            "{age} yr «{sexnoun}», history of stroke; lives with his wife.",
            "REASON FOR EXAM: {age}yo«{MF}» s/p CABG.",
            "Age/Sex: {age}/«{MF}».",
            "The patient is a well developed «{sexnoun}» in no distress.",
        ],
    },
    "nodule_size": {
        "a": [
            "There is a «{mm} mm» nodule in the right upper lobe.",
            "A nodule in the left lower lobe measures «{cm} cm».",
            "«{cm} x {cm2} cm» spiculated nodule in the lingula.",
            "Nodules are seen in both lungs, the largest measuring «{mm} mm» in the right middle lobe.",
            "Right apical nodule, «{mm} mm», previously 3 mm.",
            "A «{mm}-mm» noncalcified pulmonary nodule is unchanged.",
            "There is a calcified granuloma in the left base measuring «{mm} mm» in diameter.",
            "The endotracheal tube is 4 cm above the carina. A «{mm} mm» nodule projects over the left apex.",
            "Left upper lobe mass measuring «{cm} x {cm2} cm». A mediastinal lymph node measures 15 mm.",
        ],
        "b": [
            "Solitary pulmonary nodule measuring approximately «{mm} mm» is noted in the left upper lobe.",
            "In the right lower lobe there is a «{mm} millimeter» round nodule.",
            "The previously seen nodule now measures «{mm} mm» compared to 4 mm.",
            "Multiple nodules up to «{mm} mm» in size.",
            "Mass in the right hilum, «{cm} cm» in greatest dimension.",
            "Two nodules: a 4 mm nodule in the lingula and a «{mm} mm» nodule in the right base.",
            "A nodular opacity of «{mm} mm» overlies the fifth rib.",
            "There is a nodule in the right middle lobe. It measures «{mm} mm».",
            "Aortic root is 3.9 cm. There is a «{cm} cm» cavitary nodule at the left apex.",
        ],
    },
    "ejection_fraction": {
        "a": [
            "EF is «{ef}%».",
            "Left ventricular ejection fraction is estimated at «{ef}-{ef5}%».",
            "LVEF «{ef}%».",
            "The ejection fraction was «{ef} to {ef5}%» by visual estimate.",
            "Ejection fraction of «{ef}%», previously 25%.",
            "There is a «preserved» ejection fraction.",
            "Estimated EF: «{ef}%».",
            "RVEF 40%. LVEF «{ef}%».",
        ],
        "b": [
            "Calculated ejection fraction equals «{ef}%».",
            "The left ventricle has an EF between «{ef} and {ef5}%».",
            "LV systolic function is normal with an ejection fraction of approximately «{ef}%».",
            "Echo last week with EF «{ef}-{ef5}%».",
            "Ejection fraction is «severely reduced».",
            "LVEF= «{ef}%», 70% stenosis of the LAD.",
            "Prior EF 30%. Current ejection fraction «{ef}%».",
            "The global ejection fraction is «greater than {ef}%».",
        ],
    },
    "ett": {
        "a": [
            "Endotracheal tube tip is «{dist} cm above the carina».",
            "The ETT terminates «{dist} cm above the carina». NG tube tip is in the stomach.",
            "ET tube ends «at the level of the clavicles».",
            "Endotracheal tube is «in standard position».",
            "The tip of the endotracheal tube lies approximately «{dist} cm from the carina».",
            "Right IJ line in the SVC. Endotracheal tube «{dist} cm above the carina».",
        ],
        "b": [
            "An endotracheal tube is present with its tip «{dist} cm above the carina».",
            "Endotracheal tube «in the right mainstem bronchus».",
            "The patient is intubated. The ETT tip projects «{dist} cm proximal to the carina».",
            "Tip of ET tube is «{dist} cm above the level of the carina»; feeding tube courses below the diaphragm.",
            "ETT is «in satisfactory position».",
            "ET tube tip «at the thoracic inlet», recommend advancing 3 cm.",
        ],
    },
    "line": {
        "a": [
            "Right internal jugular central line with tip «in the mid SVC».",
            "Left subclavian catheter terminates «in the superior vena cava».",
            "Right PICC tip is «at the cavoatrial junction».",
            "A central venous catheter ends «in the right atrium».",
            "Right IJ catheter tip «overlies the distal SVC». No pneumothorax.",
        ],
        "b": [
            "A left-sided PICC has its tip «in the lower SVC».",
            "The tip of the right IJ central venous catheter projects «over the superior cavoatrial junction».",
            "Right chest port with catheter tip «in the distal superior vena cava».",
            "Dialysis catheter «within the right atrium».",
            "Left IJ line crosses the midline and terminates «in the brachiocephalic vein».",
        ],
    },
    "ng": {
        "a": [
            "NG tube courses «below the diaphragm».",
            "Nasogastric tube tip is «in the stomach».",
            "Enteric tube terminates «in the gastric fundus».",
            "The feeding tube extends «below the left hemidiaphragm».",
        ],
        "b": [
            "A nasogastric tube is seen with its tip «in the body of the stomach».",
            "Orogastric tube «in the distal esophagus», should be advanced.",
            "Dobhoff tube tip is «in the duodenum».",
            "The enteric tube passes «below the diaphragm» and out of view.",
        ],
    },
    "pacer": {
        "a": [
            "Left chest pacemaker with leads «in the right atrium and right ventricle».",
            "Dual-lead pacemaker leads project «over the right atrium and right ventricle».",
            "Single lead ICD terminates «in the right ventricle».",
        ],
        "b": [
            "A pacemaker is present, with leads terminating «in the right atrium and ventricle».",
            "AICD with its lead «in the right ventricular apex».",
            "Left subclavian pacer, leads «in the right atrium, right ventricle and coronary sinus».",
        ],
    },
    "laterality": {
        "a": [
            "Small «{side}» {finding}.",
            "There is a {finding} on the «{side}».",
            "«{Side}»-sided {finding} is again seen.",
            "No {finding} on the {other}. Moderate «{side}» {finding}.",
            "There is «bilateral» {finding}.",
            "{Finding} is seen in the «{side}» lung; the {other} lung is clear.",
        ],
        "b": [
            "«{Side}» basilar {finding}.",
            "Interval development of a {finding} at the «{side}» apex.",
            "The {other} lung is clear but there is «{side}» {finding}.",
            "{Finding} within the «{side}» hemithorax.",
            "«{Side}» {finding} and {other} rib fractures.",
            "Findings consistent with {finding} in the «{side}» lower lobe.",
        ],
    },
    "date": {
        "a": [
            "COMPARISON: Chest radiograph dated «{date}».",
            "COMPARISON: «{date}».",
            "Compared to the prior study of «{date}», there is no change.",
            "In comparison with the previous radiograph from «{date}», the lungs are clear.",
        ],
        "b": [
            "COMPARISON: PA and lateral chest from «{date}»",
            "Comparison is made with the prior exam of «{date}».",
            "Comparison: CT chest, «{date}».",
            "The study is compared with the previous film obtained «{date}».",
        ],
    },
    "exam_date": {
        "a": [
            "EXAM DATE: «{date}».",
            "DATE OF EXAM: «{date}». COMPARISON: {date2}.",
            "Chest radiograph performed on «{date}».",
        ],
        "b": [
            "STUDY DATE: «{date}». COMPARISON: {date2}.",
            "Date: «{date}».",
            "PA and lateral chest obtained «{date}».",
        ],
    },
    "comparison": {
        "a": [
            "COMPARISON: «Chest radiograph dated {date}».",
            "COMPARISON: «None».",
            "Compared to «the prior study of {date}», there is no change.",
        ],
        "b": [
            "Comparison: «CT of the chest from {date}».",
            "COMPARISON: «Portable film, {date}».",
            "Comparison is made with «the exam of {date}».",
        ],
    },
    "severity": {
        "a": [
            "There is «{degree}» {finding}.",
            "«{Degree}» left {finding}.",
            "{Finding} is «{degree}».",
            "«Mild to moderate» {finding} with small nodules.",
            "Large hiatal hernia. «{Degree}» {finding}.",
        ],
        "b": [
            "Findings are consistent with «{degree}» interstitial {finding}.",
            "The {finding} appears «{degree}».",
            "«{Degree}» bilateral {finding}, and a large hiatal hernia.",
            "«Moderate-to-severe» {finding} is present.",
            "Small nodule. There has been development of «{degree}» {finding}.",
        ],
    },
    "measurements": {
        "a": [
            "The nodule measures «{mm} mm».",
            "A «{cm} x {cm2} cm» mass is seen in the left lobe.",
            "Slice thickness 2.5 mm. Aortic root «{cm} cm».",
        ],
        "b": [
            "Infrarenal aorta up to «{cm} cm» in diameter.",
            "TECHNIQUE: 5 mm sections. FINDINGS: Cyst of «{mm} mm» in the liver.",
            "The lymph node is «{mm} x {mm2} mm».",
        ],
    },
}
NOT_STATED = {
    "age": {
        "a": [
            "Her mother is 85 years old.",
            "20 year history of diabetes.",
            "Fracture from a fall 3 years ago.",
            "XXXX-year-old male with cough.",
            "Smoker since the age of 15.",
        ],
        "b": [
            "His 12-year-old son has asthma.",
            "45 pack-year smoker.",
            "10-year-old hip prosthesis.",
            "___ year old woman with cough.",
            "Quit smoking at age 50.",
        ],
    },
    "sex": {
        "a": ["Patient with cough.", "Lives with wife of 40 years; the wife is a 60-year-old woman."],
        "b": ["Chest pain.", "The mother is a 70-year-old female with cancer."],
    },
    "nodule_size": {
        "a": [
            "No nodule larger than 4 mm.",
            "There is a pulmonary nodule in the left upper lobe.",
            "A 15 mm thyroid nodule is seen.",
            "Fleischner guidelines: nodules less than 6 mm need no follow-up.",
            "ETT is 5 cm above the carina. No nodules.",
        ],
        "b": [
            "No suspicious pulmonary nodules or masses. Aorta measures 3.2 cm.",
            "A 2 cm adrenal nodule is unchanged.",
            "Small nodule at the right base, too small to characterize.",
            "Enlarged lymph node of 18 mm.",
            "A 9 mm kidney stone. No lung nodule.",
        ],
    },
    "ejection_fraction": {
        "a": ["Ejection fraction could not be assessed.", "70% stenosis of the LAD.", "Oxygen saturation 94%."],
        "b": [
            "Echocardiogram was performed; ejection fraction not reported.",
            "RVEF is 45%.",
            "Fractional shortening 30%.",
        ],
    },
    "ett": {
        "a": ["No endotracheal tube.", "NG tube tip is in the stomach.", "The endotracheal tube has been removed."],
        "b": [
            "Interval extubation, endotracheal tube no longer seen.",
            "Right IJ line in the SVC, 2 cm above the carina.",
            "The trachea is midline.",
        ],
    },
    "line": {
        "a": ["ETT is 4 cm above the carina.", "The central line has been removed."],
        "b": ["NG tube is in the stomach.", "Interval removal of the right PICC."],
    },
    "ng": {
        "a": ["ETT 4 cm above the carina.", "The NG tube has been removed."],
        "b": ["Free air below the diaphragm.", "No nasogastric tube is seen."],
    },
    "pacer": {
        "a": ["Heart size is normal.", "ETT and NG tube in place."],
        "b": ["The right ventricle is dilated.", "Pacemaker has been removed."],
    },
    "laterality": {
        "a": ["No {finding} on the right.", "There is {finding}.", "Left rib fractures."],
        "b": ["No right or left {finding}.", "{Finding} is present.", "The left lung is clear."],
    },
    "date": {
        "a": ["COMPARISON: None.", "CABG on {date}."],
        "b": ["COMPARISON: None available. EXAM DATE: {date}.", "Lobectomy in 2012."],
    },
    "exam_date": {
        "a": ["COMPARISON: {date}.", "Lungs are clear."],
        "b": ["Compared to the prior study of {date}.", "Heart is normal."],
    },
    "comparison": {"a": ["Lungs are clear."], "b": ["Heart is normal."]},
    "severity": {
        "a": ["No significant {finding}.", "There is {finding}.", "Small nodule, mild scoliosis."],
        "b": ["No large {finding}.", "{Finding} is again seen.", "Severe kyphosis."],
    },
    "measurements": {
        "a": ["No measurable disease.", "Lungs are clear, 2 views."],
        "b": ["TECHNIQUE: 5 mm sections.", "T12 compression fracture, 3 years old."],
    },
}
PRESENCE = {
    "a": [
        ("There is a small left {finding}.", "yes"),
        ("No {finding}.", "no"),
        ("No evidence of {finding} or fracture.", "no"),
        ("{Finding} cannot be excluded.", "uncertain"),
        ("Possible {finding}.", "uncertain"),
        ("The {finding} has resolved.", "no"),
        ("Lungs are without {finding}.", "no"),
        ("Interval increase in {finding}.", "yes"),
        ("No change in the {finding}.", "yes"),
        ("Degenerative changes only.", None),
        ("Evaluate for {finding}. Heart is normal.", None),
        ("No nodule, but {finding} is present.", "yes"),
        ("{Finding}: none.", "no"),
    ],
    "b": [
        ("Moderate {finding} is again noted.", "yes"),
        ("Negative for {finding}.", "no"),
        ("{Finding} is not seen.", "no"),
        ("Findings suspicious for {finding}.", "uncertain"),
        ("There may be {finding}.", "uncertain"),
        ("No focal mass, scoliosis or {finding}.", "no"),
        ("{Finding} is no longer visible.", "no"),
        ("Worsening {finding}.", "yes"),
        ("{Finding} without significant change.", "yes"),
        ("Bones are intact.", None),
        ("INDICATION: rule out {finding}. FINDINGS: Clear lungs.", None),
        ("Heart is normal; however, there is {finding}.", "yes"),
        ("Likely {finding}.", "uncertain"),
    ],
}
FREE = {
    "a": [
        (
            "The patient underwent an echocardiogram, which shows «severe mitral regurgitation».",
            "What does the echocardiogram show?",
        ),
        ("The patient complains of «chest tightness and nausea».", "What does the patient complain of?"),
        ("She was admitted with «bloody stools».", "Why was she admitted?"),
        ("The biopsy was performed on «March 3, 2019».", "When was the biopsy performed?"),
        ("She takes lisinopril «10 mg» daily.", "What is the dose of lisinopril?"),
        ("The patient is allergic to «penicillin».", "What is the patient allergic to?"),
        ("«Three» ribs are fractured on the left.", "How many ribs are fractured?"),
        ("There is an abscess «in the right lower lobe».", "Where is the abscess?"),
        ("IMPRESSION: «Mild cardiomegaly.»", "What is the impression?"),
        ("INDICATION: «Shortness of breath.»", "What is the indication?"),
        ("Culture grew «Staphylococcus aureus».", "What did the culture grow?"),
        ("CT was obtained «for evaluation of a lung mass».", "Why was the CT obtained?"),
        ("He smoked «for 20 years».", "How long did he smoke?"),
        ("The hematoma measures «{cm} cm».", "How large is the hematoma?"),
        ("Biopsy revealed «adenocarcinoma».", "What did the biopsy reveal?"),
        ("Recommend «follow-up CT in 6 months».", "What is recommended?"),
        ("The patient fell «2 weeks ago».", "When did the patient fall?"),
        ("Blood pressure was «120 mmHg».", "What was the blood pressure?"),
        ("Referred by «Dr. Adams» to the clinic.", "Who referred the patient?"),
        ("The aortic valve was replaced in «2011».", "When was the aortic valve replaced?"),
        ("Hemoglobin was «9.1».", "What was the hemoglobin?"),
        ("The stone is located «in the left kidney».", "Where is the stone?"),
    ],
    "b": [
        ("Bronchoscopy demonstrated «a tumor in the left main bronchus».", "What did bronchoscopy demonstrate?"),
        ("He reports «a persistent dry cough».", "What does he report?"),
        ("He was hospitalized because of «recurrent syncope».", "Why was he hospitalized?"),
        ("Surgery took place on «5/14/2018».", "When did the surgery take place?"),
        ("Metformin «500 mg» twice daily was continued.", "What is the dose of metformin?"),
        ("Allergies: «sulfa and codeine».", "What are the patient's allergies?"),
        ("There are «two» healed fractures of the clavicle.", "How many fractures are healed?"),
        ("A cavity is present «in the left upper lobe».", "Where is the cavity?"),
        ("CONCLUSION: «No acute disease.»", "What is the conclusion?"),
        ("REASON FOR EXAM: «Hemoptysis.»", "What is the reason for the exam?"),
        ("Sputum was positive for «acid-fast bacilli».", "What was the sputum positive for?"),
        ("MRI was ordered «to exclude cord compression».", "Why was the MRI ordered?"),
        ("Fever has persisted «for three days».", "How long has the fever persisted?"),
        ("An abscess of «{cm} cm» is seen in the liver.", "How large is the abscess?"),
        ("Pathology showed «a carcinoid tumor».", "What did pathology show?"),
        ("RECOMMENDATION: «PET scan.»", "What is the recommendation?"),
        ("Symptoms began «yesterday».", "When did the symptoms begin?"),
        ("Opening pressure was «18 mmHg».", "What was the opening pressure?"),
        ("The history was given by «her daughter».", "Who gave the history?"),
        ("A stent was placed in «2015».", "When was the stent placed?"),
        ("Creatinine is «1.4».", "What is the creatinine?"),
        ("The catheter was inserted «in the right femoral artery».", "Where was the catheter inserted?"),
    ],
}
FREE_NOT_STATED = {
    "a": [
        "What is the potassium?",
        "When was the appendectomy?",
        "What is the dose of warfarin?",
        "Who performed the surgery?",
        "How many stents were placed?",
        "What did the colonoscopy show?",
        "Where is the aneurysm?",
        "Why was the drain removed?",
        "What is the patient's occupation?",
        "How large is the spleen?",
        "When was the last menstrual period?",
    ],
    "b": [
        "What is the sodium level?",
        "When was the hysterectomy?",
        "What is the dose of insulin?",
        "Who is the referring physician?",
        "How many polyps were removed?",
        "What did the endoscopy show?",
        "Where is the thrombus?",
        "Why was the antibiotic stopped?",
        "What is the patient's weight?",
        "How large is the prostate?",
        "What is the blood type?",
    ],
}
HARD = {
    "dev": [
        ("age", "A 34-year-old and a «{age}»-year-old were seen. The patient is «{age}» years old.", None),
        ("age", "{age}-year-old donor kidney.", "none"),
        ("age", "CT of a «{age}» year old, XXXX.", None),
        ("age", "Seen with her daughter, {age}. The patient denies pain.", "none"),
        ("age", "«{age}»-year-old with his 30-year-old brother.", None),
        ("age", "Past 60 years of age when it began.", "none"),
        ("age", "Turned «{age}» last week.", None),
        ("age", "The {age}-year-old study participant's brother.", "none"),
        ("age", "Age appropriate changes, {age}.", "none"),
        ("sex", "Status post hysterectomy.", "none"),
        ("sex", "The «woman» next to her husband was in pain.", None),
        ("sex", "Daughter says she is worried.", "none"),
        ("sex", "«She» was discharged. His physician was called.", None),
        ("sex", "Unspecified sex partner, male.", "none"),
        ("nodule_size", "Nodule of «{mm} mm», was 3 mm, and a 45 mm cyst of the liver.", None),
        ("nodule_size", "The nodule, which lies 30 mm from the pleura, is «{mm} mm».", None),
        ("nodule_size", "Nodule abutting a 30 mm aneurysm.", "none"),
        ("nodule_size", "Mass lesion of the kidney, {cm} cm, and clear lungs.", "none"),
        ("nodule_size", "Multiple nodules: «{mm} mm» RUL, 3 mm RLL, 2 mm LLL.", None),
        ("nodule_size", "Low dose CT. 2 cm margin around the nodule.", "none"),
        ("ejection_fraction", "EF was {ef}% in 2014.", "none"),
        ("ejection_fraction", "EF has improved from 25% to «{ef}%».", None),
        ("ejection_fraction", "Normal LV size. EF by Simpson «{ef} %», by eye 10 points lower.", None),
        ("ejection_fraction", "Target EF above 50%.", "none"),
        ("ejection_fraction", "EF fell from 65 to «{ef}»%.", None),
        ("ett", "ETT was 1 cm above the carina and is now «{dist} cm above the carina».", None),
        ("ett", "ETT, NG tube and right IJ line are «in good position».", None),
        ("ett", "Endotracheal tube as before.", "none"),
        ("ett", "ETT should end 4 cm above the carina.", "none"),
        ("ett", "Endotracheal tube «just above the carina».", None),
        ("line", "Bilateral central lines, tips «in the SVC».", None),
        ("line", "Right IJ catheter unchanged.", "none"),
        ("line", "Central line: tip «mid SVC».", None),
        ("line", "PICC extends «into the neck», should be in the SVC.", None),
        ("laterality", "{Finding} and {other} rib fractures.", "none"),
        ("laterality", "«{Side}» chest wall mass and {finding}.", None),
        ("laterality", "{Finding} seen when the patient lies on the {side}.", "none"),
        ("laterality", "The {side} heart border is obscured by {finding}.", "none"),
        ("severity", "«{Degree}», patchy, ill defined {finding}.", None),
        ("severity", "{Finding} with severe scoliosis.", "none"),
        ("severity", "Mild cough and {finding}.", "none"),
        ("severity", "{Finding} has progressed and is now «{degree}».", None),
        ("severity", "Small heart, {finding}.", "none"),
        ("presence", "{Finding} is difficult to exclude.", "uncertain"),
        ("presence", "No {finding} on the left; right {finding} persists.", "yes"),
        ("presence", "Previously seen {finding} has cleared.", "no"),
        ("presence", "Neither {finding} nor fracture.", "no"),
        ("presence", "Known {finding}.", "yes"),
        ("presence", "Treated for {finding} last year.", None),
        ("presence", "Improving {finding}.", "yes"),
        ("presence", "No longer any {finding}.", "no"),
        ("presence", "{Finding} cannot be seen.", "no"),
        ("presence", "Chest tube for {finding}.", "yes"),
        ("presence", "Clear of {finding}.", "no"),
        ("date", "Prior study was not available, {date}.", "none"),
        ("date", "Since «{date}», the effusion has grown.", None),
        ("comparison", "Unchanged from «{date}».", None),
        ("exam_date", "Dictated but not read {date}.", "none"),
    ],
    "c": [
        ("age", "Dr. Lee saw this patient (age «{age}», {sexnoun}) and a 20-year-old cousin.", None),
        ("age", "The mother, {age}, brought the boy.", "none"),
        ("age", "Implant is {age} years old.", "none"),
        ("age", "Nearly «{age}» years old and frail.", None),
        ("age", "Smoking from age 14 to age 50.", "none"),
        ("age", "«{age}» F, cough.", None),
        ("age", "Aged aorta. {age} mm.", "none"),
        ("age", "Pt is «{age}» and lives alone.", None),
        ("sex", "Prostate cancer.", "none"),
        ("sex", "Her brother called.", "none"),
        ("sex", "The lady doctor saw this «man».", None),
        ("sex", "«Mrs» Smith was seen in clinic.", None),
        ("sex", "Male nurse present.", "none"),
        ("nodule_size", "Nodule is «{mm} mm» today as against 4 mm in the spring.", None),
        ("nodule_size", "Nodule 40 mm deep to the skin.", "none"),
        ("nodule_size", "There is a nodule and a 22 mm node.", "none"),
        ("nodule_size", "The largest of several nodules («{mm} mm») abuts the fissure.", None),
        ("nodule_size", "Density at the apex, possibly a nodule, of «{mm} mm».", None),
        ("ejection_fraction", "EF dropped to «{ef}%» from 60%.", None),
        ("ejection_fraction", "The EF on the last echo was {ef}%.", "none"),
        ("ejection_fraction", "Ejection fraction low normal at «{ef}%».", None),
        ("ejection_fraction", "Ejection fraction, 3D: «{ef}%».", None),
        ("ejection_fraction", "Aim for EF of 50%.", "none"),
        ("ett", "The ETT has been advanced and now ends «{dist} cm above the carina».", None),
        ("ett", "Endotracheal and enteric tubes unchanged.", "none"),
        ("ett", "Carina to ETT tip distance is «{dist} cm».", None),
        ("ett", "Consider placing the ETT 3 cm above the carina.", "none"),
        ("line", "Swan-Ganz in the pulmonary artery; central line «in the SVC».", None),
        ("line", "Central line kinked at the skin.", "none"),
        ("line", "Hickman catheter, tip «at the SVC/RA junction».", None),
        ("laterality", "{Finding}: «{side}».", None),
        ("laterality", "{Finding}; clip in the {side} breast.", "none"),
        ("laterality", "{Finding} of the «{side}» costophrenic angle, {other} clear.", None),
        ("laterality", "Patient rotated to the {side}. {Finding}.", "none"),
        ("severity", "{Finding} of «{degree}» extent.", None),
        ("severity", "Severe pain. {Finding}.", "none"),
        ("severity", "A {finding}, «{degree}» in size.", None),
        ("severity", "{Finding}, severe emphysema.", "none"),
        ("presence", "{Finding} is favored over tumor.", "uncertain"),
        ("presence", "{Finding} excluded.", "no"),
        ("presence", "Status post drainage of {finding}, now gone.", "no"),
        ("presence", "Not only {finding} but also fracture.", "yes"),
        ("presence", "If {finding} develops, call.", None),
        ("presence", "Unable to rule out {finding}.", "uncertain"),
        ("presence", "{Finding} persists.", "yes"),
        ("presence", "{Finding}? None.", "no"),
        ("presence", "No new {finding}.", "no"),
        ("presence", "A {finding} is doubtful.", "uncertain"),
        ("date", "Old films of «{date}» were reviewed.", None),
        ("comparison", "As compared with «films of {date}», no change.", None),
        ("exam_date", "Signed {date}.", "none"),
    ],
}
FINDINGS = ["pleural effusion", "pneumothorax", "opacity", "pneumonia", "atelectasis", "edema", "consolidation"]


FILLER["c"] = [
    "Cardiac size is normal.",
    "There is no free air.",
    "Bones are osteopenic.",
    "Grandmother had tuberculosis.",
    "Wheezing for 2 weeks.",
    "Nipple shadows are seen.",
    "The hila are normal.",
    "Works as a welder for 25 years.",
]
FREE["c"] = [
    ("Angiography disclosed «an occluded left main artery».", "What did the angiography disclose?"),
    ("He denies pain but admits to «heavy alcohol use».", "What does he admit to?"),
    ("Transferred from the nursing home due to «altered mental status».", "Why was the patient transferred?"),
    ("A PEG was placed on «11/2/2016».", "When was the PEG placed?"),
    ("Aspirin «81 mg» was stopped.", "What is the dose of aspirin?"),
    ("She is intolerant of «morphine».", "What is she intolerant of?"),
    ("«Four» lymph nodes were positive.", "How many lymph nodes were positive?"),
    ("The drain lies «in the right upper quadrant».", "Where is the drain?"),
    ("Urine was sent for «culture».", "What was the urine sent for?"),
    ("Chemotherapy was given «for lymphoma».", "Why was chemotherapy given?"),
    ("Diarrhea has lasted «five days».", "How long has the diarrhea lasted?"),
    ("The thymoma is «{cm} cm».", "How large is the thymoma?"),
    ("Lumbar puncture yielded «clear fluid».", "What did the lumbar puncture yield?"),
    ("The transplant was done in «2009».", "When was the transplant?"),
    ("She drives a bus for a living.", "What is her profession?"),
    ("Platelets are «88».", "What is the platelet count?"),
    ("The note was cosigned by «Dr. Baker».", "Who cosigned the note?"),
    ("Ulcer «on the left foot».", "Where is the ulcer?"),
    ("TECHNIQUE: «Two views.»", "What was the technique?"),
    ("ASSESSMENT: «Stable.»", "What is the conclusion?"),
]
FREE["dev"] = [
    ("A drain was placed. Surgery was on {date}.", "When was the drain placed?"),
    ("The valve was replaced. He fell in 2011.", "When was the valve replaced?"),
    ("Images were taken in two planes.", "What drugs were taken?"),
    ("He takes «aspirin».", "What medication does he take?"),
    ("The tube was placed for feeding. A line was seen.", "Why was the line placed?"),
    ("Operated on «5/6/2015».", "When was the surgery?"),
    ("Colonoscopy was normal. MRI showed a mass.", "What did the colonoscopy show of the polyp?"),
    ("Her knee hurts. «Her hip» was replaced.", "What was replaced?"),
    ("The patient has «asthma and gout».", "What conditions does the patient have?"),
    ("Blood was drawn. Cultures are pending.", "What is the blood sugar?"),
    ("Rib fractures are old. Two screws.", "How many rib fractures are there?"),
    ("CT of the head is «normal».", "What does the head CT show?"),
    ("The family was called.", "Who called the family?"),
    ("Dose was increased. Lasix «80 mg».", "What is the dose of lasix?"),
    ("Stent in the left arm.", "When was the stent placed?"),
    ("Antibiotics were changed due to «rash».", "Why were antibiotics changed?"),
    ("The liver is enlarged. Spleen 14 cm.", "How large is the liver?"),
    ("Pain scale, 5. Weight loss.", "What is the weight?"),
]
FREE_NOT_STATED["c"] = [
    "What is the heart rate?",
    "When was the tracheostomy?",
    "What is the dose of heparin?",
    "Who is the surgeon?",
    "How many vessels are diseased?",
    "What did the mammogram show?",
    "Where is the clot?",
    "Why was the catheter changed?",
    "What is the marital status?",
    "How large is the ovary?",
    "When was the drain pulled?",
    "What was the urine output?",
    "How long has the pain lasted?",
]


class Pair(NamedTuple):
    kind: str
    report: str
    question: str
    gold: str | None
    place: tuple[int, int] | None
    half: str
    value: object = None


def _slots(draw: random.Random) -> dict[str, str]:
    male = draw.random() < 0.5
    side, other = draw.sample(["left", "right"], 2)
    finding = draw.choice(FINDINGS)
    ef = draw.choice([20, 25, 30, 35, 40, 45, 50, 55, 60])
    noun = draw.choice(["man", "male", "gentleman"] if male else ["woman", "female", "lady"])
    day, month, year = draw.randint(1, 28), draw.randint(1, 12), draw.randint(2001, 2023)
    names = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ]
    degree = draw.choice(["mild", "moderate", "severe", "small", "large", "minimal"])
    return {
        "age": str(draw.randint(19, 97)),
        "weeks": str(draw.randint(2, 11)),
        "months": str(draw.randint(2, 22)),
        "sexnoun": noun,
        "Sexnoun": noun.capitalize(),
        "MF": "M" if male else "F",
        "Sex": "Male" if male else "Female",
        "sexword": "male" if male else "female",
        "child": "boy" if male else "girl",
        "mm": str(draw.randint(5, 29)),
        "mm2": str(draw.randint(2, 4)),
        "cm": f"{draw.randint(15, 39) / 10:.1f}",
        "cm2": f"{draw.randint(5, 14) / 10:.1f}",
        "ef": str(ef),
        "ef5": str(ef + 5),
        "dist": f"{draw.randint(20, 69) / 10:.1f}",
        "side": side,
        "other": other,
        "Side": side.capitalize(),
        "finding": finding,
        "Finding": finding.capitalize(),
        "date": draw.choice(
            [f"{month}/{day}/{year}", f"{year}-{month:02d}-{day:02d}", f"{names[month - 1]} {day}, {year}"]
        ),
        "date2": f"{month}/{day}/{year - 1}",
        "degree": degree,
        "Degree": degree.capitalize(),
    }


def _build(draw: random.Random, half: str, sentence: str, filler: bool = True) -> tuple[str, tuple[int, int] | None]:
    extra = draw.sample(FILLER.get(half, FILLER["a"]), draw.randint(1, 4)) if filler else []
    headed = bool(re.match(r"[A-Z][A-Z /]+:|Comparison:|Age|Gender:|Date:", sentence.replace("«", "")))
    at = 0 if headed else draw.randint(0, len(extra))
    text = [
        *extra[:at],
        sentence + (" FINDINGS:" if headed and extra and "FINDINGS" not in sentence else ""),
        *extra[at:],
    ]
    whole = " ".join(text)
    if "«" not in whole:
        return whole, None
    a = whole.index("«")
    b = whole.index("»") - 1
    return whole.replace("«", "").replace("»", ""), (a, b)


def make(seed: int, times: int, half: str) -> list[Pair]:
    """Return question and report pairs: each template of a half, `times` times with other slots and distractors."""
    draw = random.Random(f"{seed}{half}")
    out: list[Pair] = []
    for _ in range(times):
        for stated, table in ((True, STATED), (False, NOT_STATED)):
            for kind, halves in table.items():
                for template in halves.get(half, ()):
                    slots = _slots(draw)
                    report, place = _build(draw, half, template.format(**slots))
                    question = draw.choice(QUESTIONS[kind]).format(**slots)
                    out.append(
                        Pair(kind, report, question, report[slice(*place)] if stated and place else None, place, half)
                    )
        for kind, template, verdict in HARD.get(half, ()):
            slots = _slots(draw)
            report, place = _build(draw, half, template.format(**slots), filler=kind != "presence")
            question = draw.choice(QUESTIONS[kind]).format(**slots)
            gold = verdict if kind == "presence" else None if verdict == "none" else report[slice(*place)]
            out.append(Pair(kind, report, question, gold, place, half))
        for template, verdict in PRESENCE.get(half, ()):
            slots = _slots(draw)
            report, _ = _build(draw, half, template.format(**slots), filler=False)
            out.append(
                Pair("presence", report, draw.choice(QUESTIONS["presence"]).format(**slots), verdict, None, half)
            )
        rows = [template.format(**_slots(draw)) for template, _ in FREE[half]]
        for (_, question), sentence in zip(FREE[half], rows, strict=True):
            report, place = _build(draw, half, sentence)
            if not re.match(r"[A-Z ]+:", sentence):
                # Other free sentences are the hardest distractors.
                others = [
                    row.replace("«", "").replace("»", "")
                    for row in draw.sample(rows, 2)
                    if row is not sentence and not re.match(r"[A-Z ]+:", row)
                ]
                report = report + " " + " ".join(others)
            out.append(Pair("free", report, question, report[slice(*place)] if place else None, place, half))
        for question in FREE_NOT_STATED.get(half, ()):
            report = " ".join(row.replace("«", "").replace("»", "") for row in draw.sample(rows, 4))
            out.append(Pair("free", report, question, None, None, half))
    return out


def fresh(half: str) -> list[Pair]:
    """Return part "d1" or "d2": each row of the file once, as written."""
    out: list[Pair] = []
    path = Path(__file__).with_name(f"answer_suite_{half}.toml")
    for kind, question, text, *verdict in tomllib.loads(path.read_text(encoding="utf-8"))["rows"]:
        place = (text.index("«"), text.index("»") - 1) if "«" in text else None
        report = text.replace("«", "").replace("»", "")
        gold = report[slice(*place)] if place else None
        if verdict:
            gold = None if verdict[0] == "none" else verdict[0]
        out.append(Pair(kind, report, question, gold, place, half))
    return out


def _tokens(text: str) -> Counter[str]:
    return Counter(w for w in re.findall(r"[a-z0-9.]+", text.lower().rstrip(".")) if w not in {"the", "a", "an"})


def right(pair: Pair, answer) -> bool:
    """Whether an answer is right: the verdict, the exact words, or for phrases at least three fifths of the words."""
    if pair.gold is None:
        return not answer.stated
    if not answer.stated:
        return False
    if pair.kind == "presence":
        return answer.value == pair.gold
    if pair.kind == "laterality":
        side = pair.gold.lower().removesuffix("-sided")
        side = {"r": "right", "l": "left"}[side[0]] if re.fullmatch(r"[rl][uml]l", side) else side
        return (
            str(answer.value) == ("bilateral" if side == "both" else side)
            and answer.start < pair.place[1]
            and pair.place[0] < answer.end
        )
    if answer.text.strip(" .~").lower() == pair.gold.strip(" .~").lower():
        return pair.place is None or (answer.start < pair.place[1] and pair.place[0] < answer.end)
    if pair.kind in ("ett", "line", "ng", "pacer", "comparison", "free", "summary"):
        got, want = _tokens(answer.text), _tokens(pair.gold)
        both = sum((got & want).values())
        return (
            both > 0
            and 2 * both / (sum(got.values()) + sum(want.values())) >= 0.6
            and answer.start < pair.place[1]
            and pair.place[0] < answer.end
        )
    return False


def trace(pair: Pair):
    """Return the note, the question and what was found, before any probability."""
    from aimed.readers.note_text import clean_note
    from aimed.text import answers
    from aimed.text.passages import Passage

    question = answers.read_question(pair.question)
    note = Passage(clean_note(pair.report).text)
    if question.kind == "measurements":
        parts = answers._find_measurements(note)
        return note, question, parts[0] if parts else None
    if question.kind == "presence" and (known := answers.concepts_of(question.target)) is not None:
        return note, question, answers.find_presence_in([pair.report], *known)[0]
    return note, question, answers._find(note, question)


def design(pairs):
    """Return the features of the answers, one row a pair, and whether each is right."""
    import numpy as np

    from aimed.text.answer_certainty import features_of
    from aimed.text.answers import extract

    rows, good = [], []
    for pair in pairs:
        note, question, found = trace(pair)
        rows.append(features_of(note, question, found))
        good.append(right(pair, extract(pair.report, pair.question)))
    return np.array(rows), np.array(good, dtype=float)


def fit(x, y):
    """Return a ridge logistic regression: few features, few rows."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=RIDGE, max_iter=1000).fit(x, y)


def cross_fitted(x, y, times: int = 5):
    """Return each row's probability from fits that did not see it (each row of d3 is a template of its own)."""
    import numpy as np

    total = np.zeros(len(y))
    for seed in range(times):
        fold = np.random.default_rng(seed).permutation(len(y)) % 10
        for k in range(10):
            total[fold == k] += fit(x[fold != k], y[fold != k]).predict_proba(x[fold == k])[:, 1]
    return total / times


RIDGE = 0.3


def calibration():
    """Return the pairs that the probabilities are fitted on: d3, which no rule was mended on, and the hard part dev."""
    return fresh("d3") + make(seed=0, times=1, half="dev")


def main() -> None:
    from aimed.text import answer_certainty, answers

    pairs = calibration()
    x, y = design(pairs)
    model = fit(x, y)
    lines = [
        "# Probabilities of answers, written by tests/text/answer_suite.py: the log-odds that an answer is right, a ridge",
        f"# logistic regression (C = {RIDGE}) on made-up reports: part d3, written after the rules and never mended on, and the",
        "# hard part dev, where many rules still fail. Parts a, b and d1, where rules were mended until nearly all was right,",
        "# would make it too sure and are left out; part d2 is only for reporting.",
        "# Strength of the rule, rivals in the sentence, distance to the words of the question and contested were tried and",
        "# left out: they ranked no better. Cross-fitted on d3, where the features were also chosen, the area under the curve",
        "# is .60; on d2 it is .52 (.35 to .69). The lead over the second best sentence was 0 in all of these short reports.",
        "",
        "[regression]",
        f"n = {len(y)}",
        f"right = {int(y.sum())}",
        f"intercept = {model.intercept_[0]:.4f}",
        "",
        "[regression.coefficients]",
        *(f"{name} = {w:.4f}" for name, w in zip(answer_certainty.FEATURES, model.coef_[0], strict=True)),
    ]
    Path(answers.__file__).with_name("answer_confidence.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(len(y), "pairs,", int(y.sum()), "right", file=sys.stderr)


if __name__ == "__main__":
    main()
