"""The vocabulary of the made-up tenant: names, places, jobs, subjects, licences."""

from typing import NamedTuple


class Culture(NamedTuple):
    """Names of one language area; `surname_first` tells how a display name is put together."""

    given_names: tuple[str, ...]
    surnames: tuple[str, ...]
    surname_first: bool = False


class Place(NamedTuple):
    """An office of the company and the culture its people mostly come from."""

    culture: str
    city: str
    country: str
    usage_location: str
    language: str
    office: str
    dialling_code: str


# A name whose mail form can't be had by dropping accents carries that form after the bar.
CULTURES: dict[str, Culture] = {
    "english": Culture(
        ("Olivia", "Noah", "Amelia", "Liam", "Charlotte", "James", "Grace", "Ethan", "Maya", "Siobhán", "Rhys"),
        ("Smith", "Johnson", "O'Brien", "Taylor", "Walker", "Nguyen", "Campbell", "Hughes", "Mac Aodha|macaodha"),
    ),
    "german": Culture(
        ("Jürgen", "Anneliese", "Björn", "Käthe", "Lukas", "Sören", "Ute", "Thorsten", "Mia", "Jörg", "Hannah"),
        ("Müller", "Schröder", "Weiß|weiss", "Köhler", "Bäcker", "Schmidt", "von Arnim|vonarnim", "Jäger", "Vogel"),
    ),
    "french": Culture(
        ("Chloé", "François", "Zoé", "Jérôme", "Maëlle", "Benoît", "Anaïs", "Loïc", "Camille", "Thérèse"),
        ("Lefèvre", "Dubois", "Béranger", "D'Artagnan", "Müllerthal", "Garçon", "Petit", "Noël", "Bessière"),
    ),
    "spanish": Culture(
        ("Íñigo", "María José|mariajose", "Ángel", "Lucía", "Andrés", "Begoña", "Sofía", "Martín", "Nuria"),
        ("Muñoz", "García Pérez|garciaperez", "Ibáñez", "Núñez", "Fernández", "Peña", "Ramírez", "Castaño"),
    ),
    "polish": Culture(
        ("Łukasz|lukasz", "Małgorzata|malgorzata", "Zbigniew", "Agnieszka", "Święta|swieta", "Wojciech", "Żaneta"),
        ("Wójcik", "Kowalski", "Żółkiewska|zolkiewska", "Dąbrowski", "Szczęsny", "Nowak", "Błaszczyk|blaszczyk"),
    ),
    "nordic": Culture(
        ("Åsa", "Øyvind|oyvind", "Mårten", "Freja", "Søren|soren", "Linnéa", "Aino", "Sigurður|sigurdur"),
        ("Ångström", "Hansen", "Þórsdóttir|thorsdottir", "Øster|oster", "Bergström", "Virtanen", "Kjær|kjaer"),
    ),
    "turkish": Culture(
        ("İpek", "Çağlar", "Şule", "Ömer", "Gülşen", "Yiğit", "Ayşe", "Işıl|isil"),
        ("Yılmaz|yilmaz", "Öztürk", "Çelik", "Şahin", "Güneş", "Doğan", "Işık|isik"),
    ),
    "ukrainian": Culture(
        ("Олена|olena", "Тарас|taras", "Ірина|iryna", "Богдан|bohdan", "Юлія|yuliia", "Андрій|andrii"),
        ("Шевченко|shevchenko", "Коваленко|kovalenko", "Бондаренко|bondarenko", "Ткачук|tkachuk"),
    ),
    "greek": Culture(
        ("Ελένη|eleni", "Γιώργος|giorgos", "Κατερίνα|katerina", "Δημήτρης|dimitris"),
        ("Παπαδόπουλος|papadopoulos", "Νικολάου|nikolaou", "Οικονόμου|oikonomou"),
    ),
    "arabic": Culture(
        ("ليلى|layla", "عمر|omar", "فاطمة|fatima", "يوسف|yousef", "مريم|maryam"),
        ("الحداد|alhaddad", "المنصوري|almansoori", "خليل|khalil", "الشريف|alsharif"),
    ),
    "hindi": Culture(
        ("Aarav", "Priya", "अनन्या|ananya", "Rohan", "दीपक|deepak", "Kavya", "Sanjay", "Lakshmi"),
        ("Sharma", "Iyer", "Chatterjee", "गुप्ता|gupta", "Reddy", "Singh", "Kulkarni"),
    ),
    "japanese": Culture(
        ("花子|hanako", "太郎|taro", "さくら|sakura", "健一|kenichi", "美咲|misaki", "翔太|shota"),
        ("山田|yamada", "佐藤|sato", "鈴木|suzuki", "髙橋|takahashi", "渡邊|watanabe", "伊藤|ito"),
        surname_first=True,
    ),
    "korean": Culture(
        ("민준|minjun", "서연|seoyeon", "지훈|jihoon", "하은|haeun"), ("김|kim", "이|lee", "박|park", "최|choi"), True
    ),
    "chinese": Culture(
        ("伟|wei", "芳|fang", "秀英|xiuying", "志强|zhiqiang", "𠮷海|jihai"),
        ("王|wang", "李|li", "张|zhang", "欧阳|ouyang", "刘|liu"),
        True,
    ),
    "vietnamese": Culture(
        ("Thị Hương|thihuong", "Văn Đức|vanduc", "Quỳnh Anh|quynhanh", "Minh Tuấn|minhtuan"),
        ("Nguyễn", "Trần", "Phạm", "Đặng|dang", "Võ"),
        True,
    ),
}

PLACES: tuple[Place, ...] = (
    Place("english", "Seattle", "United States", "US", "en-US", "Building 7", "+1 206 555"),
    Place("english", "London", "United Kingdom", "GB", "en-GB", "20 Fenchurch St, Floor 18", "+44 20 7946"),
    Place("english", "Dublin", "Ireland", "IE", "en-IE", "Sandyford 3/12", "+353 1 555"),
    Place("english", "Sydney", "Australia", "AU", "en-AU", "Level 9", "+61 2 5550"),
    Place("german", "München", "Germany", "DE", "de-DE", "Haus B, 3. OG", "+49 89 555"),
    Place("german", "Zürich", "Switzerland", "CH", "de-CH", "Prime Tower 21", "+41 44 555"),
    Place("french", "Saint-Étienne", "France", "FR", "fr-FR", "Bâtiment Écureuil", "+33 4 77 55"),
    Place("french", "Montréal", "Canada", "CA", "fr-CA", "Tour Est", "+1 514 555"),
    Place("spanish", "A Coruña", "Spain", "ES", "es-ES", "Planta 2ª", "+34 981 55"),
    Place("spanish", "Bogotá", "Colombia", "CO", "es-CO", "Torre Norte", "+57 1 555"),
    Place("polish", "Łódź", "Poland", "PL", "pl-PL", "Piętro 5", "+48 42 555"),
    Place("nordic", "Malmö", "Sweden", "SE", "sv-SE", "Våning 4", "+46 40 555"),
    Place("nordic", "Tromsø", "Norway", "NO", "nb-NO", "Blokk Ø", "+47 77 55"),
    Place("turkish", "İstanbul", "Türkiye", "TR", "tr-TR", "Kat 11", "+90 212 555"),
    Place("ukrainian", "Київ", "Ukraine", "UA", "uk-UA", "Корпус 2", "+380 44 555"),
    Place("greek", "Αθήνα", "Greece", "GR", "el-GR", "Όροφος 3", "+30 21 0555"),
    Place("arabic", "دبي", "United Arab Emirates", "AE", "ar-AE", "برج ٢", "+971 4 555"),
    Place("hindi", "Bengaluru", "India", "IN", "en-IN", "Tech Park, Block C", "+91 80 5550"),
    Place("hindi", "पुणे", "India", "IN", "hi-IN", "Tower 2", "+91 20 5550"),
    Place("japanese", "東京", "Japan", "JP", "ja-JP", "本社12階", "+81 3 5550"),
    Place("korean", "서울", "Korea", "KR", "ko-KR", "8층", "+82 2 555"),
    Place("chinese", "台北", "Taiwan", "TW", "zh-TW", "信義A座", "+886 2 5550"),
    Place("vietnamese", "Đà Nẵng", "Vietnam", "VN", "vi-VN", "Tầng 6", "+84 236 555"),
)

DEPARTMENTS: tuple[str, ...] = (
    "Engineering", "Sales", "Marketing", "Finance", "Human Resources", "Legal", "Operations", "Customer Success",
    "IT Services", "Research & Development", "Procurement", "Qualitätssicherung", "Communication", "Facilities",
)  # fmt: skip

JOB_TITLES: tuple[str, ...] = (
    "Software Engineer", "Senior Software Engineer", "Account Executive", "Product Manager", "Controller", "Analyst",
    "Team Lead", "Director", "Consultant", "HR Business Partner", "Legal Counsel", "Chargé d'affaires", "Buyer",
    "Support Engineer", "Data Scientist", "Technical Writer", "Office Manager", "Vice President", "Intern",
)  # fmt: skip

SUBJECTS: tuple[str, ...] = (
    "Apollo", "Budget", "Café", "Compliance", "Data Platform", "Élan", "Field Service", "Green IT", "Hiring",
    "Identity", "Journal Club", "Kundenportal", "Launch", "Mobility", "Nordstern", "Onboarding", "Payroll",
    "Quality", "Roadmap", "Security Champions", "Travel", "Übersetzung", "Vendors", "Wellbeing", "東京プロジェクト",
)  # fmt: skip

PARTNERS: tuple[str, ...] = ("fabrikam.com", "northwindtraders.com", "adatum.com", "tailspintoys.com", "litware.co.uk")

LICENCE_SKUS: dict[str, str] = {
    "SPE_E5": "06ebc4ee-1bb5-47dd-8120-11324bc54e06",
    "SPE_E3": "05e9a617-0261-4cee-bb44-138d3ef5d965",
    "SPE_F1": "66b55226-6b4f-492c-910c-a3b7a3c9d993",
    "POWER_BI_PRO": "f8a1db68-be16-40ed-86d5-cb42ce701560",
}

KAIZALA_PLAN = "0898bdbb-73b0-471a-81e5-20f1fe4dd66e"

CHANNELS: tuple[str, ...] = ("Planning", "Ideas & Questions", "Announcements")
