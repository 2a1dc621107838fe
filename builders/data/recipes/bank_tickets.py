"""`bank-tickets`: a customer's message to a bank, in Chinese → the queue that handles it.

A routing table as service desks have it: the queue follows from what is wanted and, where a
business line handles its own matters, from the product. The messages are composed from sentences
written for this recipe; no customer wrote any. What a message is about is one clause of it:
openings and closings are drawn for each message and say nothing of the queue.

Invariant: no test or validation message shares its pair of request and product wording with a
training message, and no two messages are equal. What is unseen is thus the combination and the
words around it, not the request's own wording.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from adapterworks.builders.data.recipes.recipe import SPLITS, Derived, Recipe, hash_split
from adapterworks.builders.data.rows import Row, chat
from adapterworks.manifests.digests import digest_bytes, hash64

TEST, VALIDATION = 25, 10  # per cent of the pairs of request and product wording
OWN = "line_of_its_own"  # the slice of messages that a business line handles itself

# Business line → what customers call its products.
PRODUCTS = {
    "信用卡": ("信用卡", "贷记卡", "白金卡", "公务卡", "联名信用卡"),
    "借记卡": ("储蓄卡", "工资卡", "借记卡", "社保卡", "一类户银行卡"),
    "贷款": ("房贷", "消费贷", "车贷", "装修贷", "助学贷款"),
    "理财": ("理财产品", "基金", "大额存单", "养老理财", "结构性存款"),
    "对公": ("对公账户", "公司基本户", "企业一般户", "单位结算账户", "公司验资户"),
}
# What is wanted → ways to say so; `{p}` is the product.
REQUESTS = {
    "盗用": (
        "{p}上有一笔交易不是本人做的", "怀疑{p}被别人盗用了", "{p}半夜突然被转走了钱",
        "有人冒用我的身份动了{p}", "{p}出现了异地的陌生交易", "点了诈骗短信之后{p}里的钱少了",
    ),
    "费用": (
        "{p}为什么多扣了一笔手续费", "{p}的收费标准跟之前说的不一样",
        "想查一下{p}这个月扣的是什么钱", "{p}重复扣款了两次", "{p}的利息好像算错了",
        "希望退还{p}误收的费用",
    ),
    "额度": (
        "{p}的额度太低了想提高一些", "能不能给{p}临时提额", "{p}的限额可以调整吗",
        "{p}申请提升额度被拒绝了", "{p}单笔最高能办多少", "{p}额度什么时候能恢复",
    ),
    "登录": (
        "在手机上查{p}时一直提示密码错误", "收不到操作{p}的短信验证码", "人脸识别不通过没法看{p}",
        "App里打开{p}的页面就闪退", "忘记登录密码进不去{p}页面", "换了手机之后{p}无法在线操作",
    ),
    "资料": (
        "{p}上登记的电话号码要换", "身份证到期了要更新{p}的信息", "{p}预留的地址填错了",
        "改了名字需要变更{p}的户名", "想修改{p}绑定的邮箱", "{p}登记的职业信息要改",
    ),
    "开办": (
        "想新办一个{p}需要带什么材料", "{p}的申请进度到哪一步了", "网点能不能当天开通{p}",
        "外地户口可以申请{p}吗", "第一次办{p}要满足什么条件", "预约周末去办理{p}",
    ),
    "退出": (
        "{p}不想要了怎么办理注销", "想提前把{p}结清", "帮忙终止{p}并出具证明",
        "{p}关掉之后多久能生效", "准备出国所以要把{p}销掉", "{p}提前支取或结清会不会罚钱",
    ),
    "投诉": (
        "咨询{p}时柜员态度很差", "办{p}排了两个小时没人理", "客服对{p}的解释前后矛盾",
        "经理推销{p}时夸大其词", "反映{p}的问题三次都没人回电", "对{p}的服务非常不满意要投诉",
    ),
}  # fmt: skip
# What is wanted → its queue.
QUEUES = {
    "盗用": "反欺诈中心",
    "费用": "账务核查组",
    "额度": "额度审批组",
    "登录": "电子渠道组",
    "资料": "客户信息组",
    "开办": "业务受理组",
    "退出": "销户结清组",
    "投诉": "客户关怀组",
}
# (business line, what is wanted) → the queue, where the line handles it itself.
OWN_QUEUES = {
    ("贷款", "费用"): "贷后管理组",
    ("贷款", "额度"): "贷后管理组",
    ("贷款", "退出"): "贷后管理组",
    ("理财", "费用"): "财富运营组",
    ("理财", "额度"): "财富运营组",
    ("理财", "退出"): "财富运营组",
    ("对公", "资料"): "公司业务组",
    ("对公", "开办"): "公司业务组",
    ("对公", "退出"): "公司业务组",
}
OPENINGS = (
    "你好，", "您好，我是贵行十几年的老客户，", "早上给你们打电话一直占线，", "我人在外地出差，",
    "帮我母亲问一下，她年纪大了不会用手机，", "昨天下午去了中山路的网点，没有问清楚，", "",
    "上个月刚从别的城市搬过来，", "不好意思打扰了，", "之前在公众号留言没有人回复，", "请问一下，",
    "本来想去柜台的，可是上班走不开，", "同事推荐我来这里问，",
)  # fmt: skip
CLOSINGS = (
    "，麻烦尽快回复。", "，请问该怎么处理？", "，谢谢！", "，我明天中午之前都有空接电话。", "。",
    "，最好今天就能给个答复。", "，家里人也很着急。", "，需要我提供什么请直接说。", "，辛苦了。",
    "，不知道找谁才好。", "，等你们的消息。",
)  # fmt: skip


def derive(cache: Path | None = None) -> Derived:
    """The recipe's rows: one message for each pair of request and product wording."""
    splits: dict[str, list[Row]] = {split: [] for split in SPLITS}
    for line, products in PRODUCTS.items():
        for wanted, requests in REQUESTS.items():
            for product in products:
                for request in requests:
                    key = f"{product}|{request}"
                    split = hash_split(key, test=TEST, validation=VALIDATION)
                    splits[split].append(_row(line, wanted, product, request))
    rows = {split: tuple(part) for split, part in splits.items()}
    source = digest_bytes(Path(__file__).read_bytes())
    return Derived(
        rows,
        f"adapterworks=={metadata.version('adapterworks')}, composed from sentences written for it",
        {Path(__file__).name: source},
        {"messages": sum(len(part) for part in rows.values())},
    )


def queue(line: str, wanted: str) -> str:
    """The queue that handles a request about a product of a business line."""
    return OWN_QUEUES.get((line, wanted), QUEUES[wanted])


def _row(line: str, wanted: str, product: str, request: str) -> Row:
    drawn = hash64(f"{product}|{request}")
    opening, closing = OPENINGS[drawn % len(OPENINGS)], CLOSINGS[drawn // 64 % len(CLOSINGS)]
    message = opening + request.replace("{p}", product) + closing
    slices = [OWN] if (line, wanted) in OWN_QUEUES else []
    return chat(message, queue(line, wanted)).with_meta(term=message, slices=slices)


RECIPE = Recipe(
    name="bank-tickets",
    description="A customer's message to a bank, in Chinese → the queue that handles it",
    license="Apache-2.0",
    derive=derive,
)
