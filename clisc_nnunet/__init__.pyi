from clisc_nnunet.api import estimate_quality as estimate_quality
from clisc_nnunet.api import evaluate as evaluate
from clisc_nnunet.api import make_phantoms as make_phantoms
from clisc_nnunet.api import make_pseudo_labels as make_pseudo_labels
from clisc_nnunet.errors import UserError as UserError
from clisc_nnunet.inference.mask import Mask as Mask
from clisc_nnunet.inference.segment_image import load_network as load_network
from clisc_nnunet.inference.segment_image import segment as segment
from clisc_nnunet.settings import PRESETS as PRESETS
from clisc_nnunet.settings import Settings as Settings

__version__: str
