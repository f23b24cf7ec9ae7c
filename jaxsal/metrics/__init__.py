"""Is the map true? Where its relevance lies, how sure that is, and whether it passes for sane."""

from jaxsal.metrics.bootstrap import Interval as Interval
from jaxsal.metrics.bootstrap import difference_interval as difference_interval
from jaxsal.metrics.bootstrap import mean_interval as mean_interval
from jaxsal.metrics.bootstrap import summarise as summarise
from jaxsal.metrics.classification import classification_report as classification_report
from jaxsal.metrics.localization import CONTROLS as CONTROLS
from jaxsal.metrics.localization import MEASURES as MEASURES
from jaxsal.metrics.localization import centre_prior as centre_prior
from jaxsal.metrics.localization import exclusions as exclusions
from jaxsal.metrics.localization import localize as localize
from jaxsal.metrics.localization import pointing_game as pointing_game
from jaxsal.metrics.localization import rank_accuracy as rank_accuracy
from jaxsal.metrics.localization import region_measures as region_measures
from jaxsal.metrics.localization import relevance_mass as relevance_mass
from jaxsal.metrics.localization import roc_auc as roc_auc
from jaxsal.metrics.localization import uniform_random as uniform_random
from jaxsal.metrics.sanity import parameter_randomisation as parameter_randomisation
from jaxsal.metrics.sanity import spearman as spearman
