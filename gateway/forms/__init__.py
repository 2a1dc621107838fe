"""The closed table of servable forms."""

from gateway.forms.form import Form
from gateway.forms.lora import LoraForm

FORMS: dict[str, Form] = {"lora": LoraForm()}
