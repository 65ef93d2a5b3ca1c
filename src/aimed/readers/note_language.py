"""Common words of English notes and of fifteen other languages, by which a note in another language is told."""

from __future__ import annotations

import unicodedata

__all__ = ["FOREIGN", "NATIVE", "NATIVE_ALONE", "OFTEN_BORROWED", "PROFILES"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NATIVE = _words(
    """
    the of and in we is are was were with without there this that these those for from at by on has have had been be
    not or but which may might could can cannot seen noted again since than as to an its it into over under above
    below within between through during after before both no evidence acute chronic mild moderate severe small large
    minimal left right upper lower middle lobe lobes lung lungs heart size enlarged stable unchanged clear chest
    view views lateral frontal portable pleural effusion effusions fracture fractures consolidation opacity
    opacities disease change changes prior previous comparison findings impression indication history pain cough
    normal limits appears appear bony osseous structures soft tissue tissues rib ribs spine thoracic degenerative
    tip tube line catheter removed interval increased decreased improved worsened new old unremarkable patient year
    male female focal airspace pneumonia edema nodule mass air space silhouette mediastinal contours pulmonary
    vascularity vasculature granuloma bilateral basilar bases base apical apex atelectasis scarring cardiomegaly
    pneumothorax pneumothoraces visualized identified present demonstrate demonstrates demonstrated evaluation study
    exam examination signed dictated intact sternotomy wires clips surgical hilar hilum aorta aortic tortuous
    calcified calcification exclude consistent likely possible probable suspected suspicious follow recommended if
    clinical correlation also however although some several multiple few one two three all any other more less most
    well see due
    """
)
"""Words of English notes. Some are spelled alike elsewhere; they never speak against English."""

PROFILES: dict[str, str] = {
    "german": """
        der die das den dem ein eine einer eines einem einen und oder nicht kein keine keinen keiner mit ohne im ist
        sind wird werden wurde bei bis auf aus nach von vom zum zur für über unter zwischen sowie auch noch nur sich
        als wie rechts links rechten linken rechte linke beidseits beidseitig beidseitige herz lunge lungen
        herzgröße erguss ergüsse pleuraerguss pleuraergüsse rechtsseitig linksseitig befund beurteilung
        fragestellung thorax nachweis hinweis hinweise unauffällig unauffällige unverändert verschattung
        verschattungen infiltrat infiltrate stauung vergleich voraufnahme zwerchfell verbreitert vergrößert normal
        regelrecht regelrechte deutlich gering geringe
    """,
    "french": """
        le les des du une et est sont pas sans avec dans pour sur par aux au qui que ce cette il elle ne ou mais
        plus droit droite gauche poumon poumons cœur coeur épanchement pleural pleurale opacité opacités silhouette
        cardiaque normale absence foyer pneumothorax radiographie indication résultat conclusion médiastin bilatéral
        volume taille image aucune aucun été deux lobe supérieur inférieur inférieure anomalie décelable parenchyme
        pulmonaire
    """,
    "spanish": """
        el la los las del un una unos y con sin en por para se es son que como su sus al lo más pero derecho derecha
        izquierdo izquierda derrame pulmón pulmones pulmonar pulmonares corazón silueta cardíaca tamaño normal
        neumotórax neumonía hallazgos impresión radiografía tórax no hay ni evidencia aumento observa observan
        signos ambos ambas consolidación infiltrado infiltrados senos costofrénicos libres mediastino
    """,
    "italian": """
        il lo la gli le di del della dei delle degli dello un una e è sono non con senza nel nella nei in per da dal
        dalla al alla che si come più destra destro sinistra sinistro polmone polmoni polmonare versamento pleurico
        cuore cardiaca limiti norma addensamento addensamenti focolaio quadro esame torace ombra dimensioni
        bilaterale regolare evidenza evidenti lesioni segni pneumotorace consolidazione polmonite
    """,
    "portuguese": """
        o os as um uma de do da dos das em no na nos nas com sem por para que não são está é ou ao à pelo pela mais
        direito direita esquerdo esquerda derrame pulmão pulmões pulmonar coração área cardíaca dentro limites
        normais pneumotórax pneumonia achados impressão radiografia tórax consolidação consolidações evidência
        sinais seios mediastino aumentada volume observa
    """,
    "dutch": """
        de het een en van voor met zonder niet geen op aan bij naar uit ook nog wel zijn wordt worden is te dat deze
        dit er maar links rechts linker rechter beiderzijds hart long longen longvelden hartgrootte pleuravocht
        vocht aanwijzingen afwijkingen verslag conclusie vergrote vergroot normaal normale onveranderd infiltraat
        infiltraten tekenen vergelijking bevindingen geringe toegenomen
    """,
    "polish": """
        i w z na do nie bez po od za ze oraz się jest są lub przy pod nad prawej lewej prawego lewego prawym lewym
        prawe lewe strony stronie obu płuc płuca płucach płuco płucu serce serca sylwetka niepowiększona opłucnej
        opłucnowych jamach jamie płyn płynu zmian ogniskowych zagęszczeń wnęki śródpiersie odma odmy badanie wniosek
        granicach normy widoczne widoczny
    """,
    "turkish": """
        ve bir bu ile için olarak olan olup var yok değil daha en her iki sağ sol sağda solda akciğer akciğerde
        akciğerler akciğerlerde kalp kalbin boyutu boyutları normal normaldir izlenmedi izlenmektedir izlendi mevcut
        mevcuttur plevral efüzyon pnömotoraks bilateral sınırlarda saptanmadı görülmedi alt üst lob bulgular sonuç
        doğal doğaldır parankim mediasten açık
    """,
    "swedish": """
        och det att en ett som på är av för med till den inte utan inga inget ingen finns sig från höger vänster
        sidan hjärta hjärtat hjärtstorlek lunga lungor lungorna pleuravätska vätska ses förstorat normalstort
        jämförelse undersökning utlåtande båda sidor oförändrat förändringar
    """,
    "danish": """
        og det at en et som på er af for med til den ikke uden ingen der sig fra højre venstre side hjerte hjertet
        hjertestørrelse lunge lunger lungerne pleuravæske væske ses forstørret normal sammenlignet undersøgelse
        konklusion begge sider uændret tegn
    """,
    "norwegian": """
        og det at en et som på er av for med til den ikke uten ingen der seg fra høyre venstre side hjerte hjertet
        hjertestørrelse lunge lunger lungene pleuravæske væske ses sees forstørret sammenlignet undersøkelse
        vurdering begge sider uendret tegn holdepunkter
    """,
    "czech": """
        a v ve s se na do z ze je jsou bez není pro po od při nebo také vpravo vlevo pravé levé pravého levého srdce
        srdeční stín plíce plic plicní výpotek výpotku pleurální ložiskové změny nález závěr rozšířen rozšířené
        oboustranně křídla bránice volné
    """,
    "romanian": """
        și si cu fără fara de la în in pe nu este sunt din pentru care sau mai un o dreapta drept stânga stang
        plămân pulmon pulmonar pulmonară pleurală revărsat inima cord cordul dimensiuni normale leziuni evolutive
        sinusuri libere concluzie opacitate
    """,
    "hungarian": """
        a az és nem van egy is hogy nincs mint vagy jobb bal jobboldali baloldali mindkét oldalon tüdő tüdőben szív
        szívárnyék folyadék mellkas mellkasi mellkasfelvétel eltérés látható kóros megnagyobbodott nagyságú vélemény
        rekeszek szabad
    """,
    "finnish": """
        ja on ei ole että se kun myös tai oikea vasen oikealla vasemmalla oikean vasemman sydän sydämen keuhko
        keuhkot keuhkoissa pleuranestettä nestettä normaali normaalin kokoinen todeta näy lausunto molemmin puolin
        suurentunut
    """,
}
"""Function words and the commonest words of chest reports, by language."""

OFTEN_BORROWED = _words(
    """
    de la le les des du el al il los las et en un une der die den das van von di da do dos per non no na se si as os
    at on is in an of to for by me he so it was am man son a e o y i s v z w up our has had or are be not all any
    pas est par sur ad om op er te au ex re ne ce que lo pa ap ha af via und im mit bis aus auf ist tube ett plus
    area volume image lobe lob thorax absence normal normale silhouette mediastino mediastinum focal pleural
    pulmonary cord pulmon cor limit conclusion indication indications evidence infiltrate bilateral lateral minor
    male old var med sig tai san ten ton ja alt tegn side sider long lunge hart over out under
    """
)
"""Words too Latin or too common in names to tell a language alone, as are all of three letters."""


def _plain(word: str) -> str:
    replaced = word.replace("ß", "ss").replace("ø", "o").replace("æ", "ae").replace("œ", "oe").replace("ł", "l")
    decomposed = unicodedata.normalize("NFKD", replaced.replace("ı", "i"))
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def _foreign() -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for language, words in PROFILES.items():
        for word in dict.fromkeys(words.split()):
            # Letters without their marks, as old systems and all capitals have them.
            for spelling in {word, _plain(word)}:
                if len(spelling) > 1 and spelling not in NATIVE:
                    found.setdefault(spelling, []).append(language)
    return {word: tuple(languages) for word, languages in found.items()}


FOREIGN = _foreign()
"""Words that English notes do not hold, each with the languages that do."""

_ELSEWHERE = {spelling for words in PROFILES.values() for word in words.split() for spelling in (word, _plain(word))}
NATIVE_ALONE = NATIVE - _ELSEWHERE
"""Words of English notes that no other profile has."""
