"""The closed table of servable forms."""

from gateway.forms.form import Form
from gateway.forms.lora import LoraForm
from gateway.forms.virtual import VirtualForm

FORMS: dict[str, Form] = {
    "lora": LoraForm(),
    "prompt": VirtualForm("prompt"),
    "prefix": VirtualForm("prefix"),
}
