"""Which CAP events announce a missing child. A missed one would go out as a general alert that nobody has verified."""

from __future__ import annotations

import pytest

from alertd.service.sharing.child_events import announces_child


@pytest.mark.parametrize("event", [
    "AMBER", "amber", "AMBER Alert", "AMBER  Alert\n - Update", "A\u200bMBER-Alert", "Alerta AMBER: niña desaparecida", "Alerte AMBER",
    "Child Abduction Emergency (CAE)", "Child Abduction", "Child Kidnapped", "Kidnapped boy", "Missing Infant", "Missing child",
    "Missing children", "Children missing", "Child is missing", "Missing Juvenile", "Missing Endangered Child", "Girl, 7, missing", "Lost child",
    "Abducción de Niño", "Menores desaparecidos", "Niña desaparecida", "Desaparición de una menor", "Secuestro de menores", "Alerta Sofía",
    "Enfant disparu", "Enfants disparus", "Enlèvement d'enfants", "Alerte enlèvement", "Disparition d'une mineure",
    "Vermisste Kinder", "Vermisstes Kind", "Kind vermisst", "Kindesentführung", "Entführung eines Kindes", "Jugendliche vermisst",
    "Bambini scomparsi", "Minore scomparso", "Rapimento di un bambino",
    "Criança desaparecida", "Crianças desaparecidas", "Desaparecimento de menor", "Menina desaparecida",
    "Zaginięcie dziecka", "Zaginione dziecko", "Porwanie dziecka", "Kayıp çocuk", "KAYIP ÇOCUK", "Çocuk kaçırıldı",
    "Зникла дитина", "Зниклі діти", "Викрадення дитини", "طفل مفقود", "الطفلة المفقودة", "أطفال مفقودون", "اختطاف طفل",
    "失踪儿童", "儿童走失", "लापता बच्चा", "बच्चे का अपहरण", "Vermist kind", "Kinderen vermist",
    "CAE", "cae", "AMBER (CAE)", "Amber alarm", "Plan AMBER", "Missing daughter", "Runaway juvenile", "Snatched baby", "Niño perdido", "Niña robada",
    "Rapt d'enfant", "Fugue d'un mineur", "Kindsentführung", "Vermisster Bub", "Sottrazione di minore", "Kayıp kız", "Розшук дитини", "فقدان طفل",
    "未成年人失踪", "少年失踪", "婴儿被拐", "लापता लड़की", "लड़का लापता", "बच्चा गुम",
])  # fmt: skip
def test_an_event_of_a_missing_child_is_one_in_any_language_order_and_number(event: str):
    assert announces_child(event)


@pytest.mark.parametrize("event", [
    "Amber warning of wind", "Amber Weather Warning", "Yellow and amber warnings", "Missing person", "Missing Endangered Persons",
    "Persona desaparecida", "Vermisste Person", "Kidnapping", "Entführung", "Missing aircraft", "Lost dog", "Road lost to a landslide",
    "Childhood vaccination", "Children's hospital evacuated", "School children sent home", "Minor flooding", "El Niño", "Girls' school closed",
    "Kindergarten geschlossen", "Boil water advice for infants", "Corte de agua", "Water cut", "Flood Warning", "水庫洩洪", "儿童医院", "Civil Danger Warning",
    "Amber warning for wind", "Amber alert for heat", "Cold-Health Amber Alert", "Amber alert: heavy rain", "Caecilia", "CAE flight delayed", "—", "",
    "Children taken to shelters", "लापता व्यक्ति", "失踪人员", "Розшук людини", "فقدان شخص", "Kayıp kişi", "Robo de cable",
])  # fmt: skip
def test_an_event_that_is_not_of_a_missing_child_stays_a_general_one(event: str):
    assert not announces_child(event)
