import { define } from "../hosts/anywidget";
import { prediction } from "../views/prediction";

export default define("prediction", prediction);
