"""jaxsal: a saliency compiler for JAX."""

from jaxsal.engine import Evaluator as Evaluator
from jaxsal.engine import Explainer as Explainer
from jaxsal.engine import evaluator as evaluator
from jaxsal.engine import explainer as explainer
from jaxsal.methods import COMBINATORS as COMBINATORS
from jaxsal.methods import METHODS as METHODS
from jaxsal.methods.gradient import gradient as gradient
from jaxsal.methods.gradient import input_x_gradient as input_x_gradient
from jaxsal.methods.noise import smoothgrad as smoothgrad
from jaxsal.methods.noise import smoothgrad_squared as smoothgrad_squared
from jaxsal.methods.noise import vargrad as vargrad
from jaxsal.methods.path import expected_gradients as expected_gradients
from jaxsal.methods.path import integrated_gradients as integrated_gradients
from jaxsal.methods.perturb import feature_ablation as feature_ablation
from jaxsal.methods.perturb import occlusion as occlusion
from jaxsal.methods.rise import rise as rise
