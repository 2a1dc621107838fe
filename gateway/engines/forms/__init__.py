"""The closed table of servable forms."""

from adapterworks.gateway.engines.forms.form import Form
from adapterworks.gateway.engines.forms.lora import LoraForm
from adapterworks.gateway.engines.forms.virtual import VirtualForm

FORMS: dict[str, Form] = {
    "lora": LoraForm(),
    "prompt": VirtualForm("prompt"),
    "prefix": VirtualForm("prefix"),
}
