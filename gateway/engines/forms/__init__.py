"""The closed table of servable forms."""

from adapterworks.gateway.engines.forms.form import Form
from adapterworks.gateway.engines.forms.lora import LoraForm
from adapterworks.gateway.engines.forms.virtual import VirtualForm
from adapterworks.registry.releases.forms import LORA, PREFIX, PROMPT

FORMS: dict[str, Form] = {
    LORA: LoraForm(),
    PROMPT: VirtualForm(PROMPT),
    PREFIX: VirtualForm(PREFIX),
}
