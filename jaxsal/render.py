"""Maps to pictures: the public names of `jaxsal.viz`."""

from jaxsal.viz.figures import canvas as canvas
from jaxsal.viz.figures import contact_sheet as contact_sheet
from jaxsal.viz.figures import explanation as explanation
from jaxsal.viz.figures import relevance_grid as relevance_grid
from jaxsal.viz.figures import slice_numbers as slice_numbers
from jaxsal.viz.maps import overlay as overlay
from jaxsal.viz.picture import Picture as Picture
from jaxsal.viz.picture import png as png
from jaxsal.viz.show import show as show
from jaxsal.viz.style import STYLE as STYLE
from jaxsal.viz.style import styled as styled
